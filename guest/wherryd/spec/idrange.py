"""A container's range of the host's ids: what is 0 and up inside is id_base and up outside."""

from typing import Final

from wherryd.spec.oci import IdMapping

#: Ids a container has: 0 to 65535, nobody (65534) included.
SIZE: Final = 65536


def mappings(id_base: int) -> tuple[IdMapping, ...]:
    """Of uids and gids alike. None at 0: its ids are the host's."""
    return (IdMapping(container_id=0, host_id=id_base, size=SIZE),) if id_base else ()
