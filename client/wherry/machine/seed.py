"""The seed disk: how the public key and the machine's name reach the guest before its sshd starts.

A raw image that begins with a POSIX tar (seed.json first, then authorized_keys), described by a VMDK of
type monolithicFlat, which VirtualBox and QEMU both read and which is text: no tool is needed to make one.
Source: VMware, "Virtual Disk Format 5.0", "The descriptor file".
"""

import io
import json
import tarfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SCHEMA = 1
SECTOR_BYTES = 512
#: The image is a multiple of this; smaller disks upset some disk emulations.
ROUND_BYTES = 1024 * 1024

_DESCRIPTOR = """\
# Disk DescriptorFile
version=1
CID={content_id}
parentCID=ffffffff
createType="monolithicFlat"

# Extent description
RW {sectors} FLAT "{flat}" 0

# The Disk Data Base
#DDB

ddb.virtualHWVersion = "4"
ddb.adapterType="ide"
ddb.geometry.cylinders="{cylinders}"
ddb.geometry.heads="16"
ddb.geometry.sectors="63"
ddb.uuid.image="{image_id}"
ddb.uuid.parent="00000000-0000-0000-0000-000000000000"
ddb.uuid.modification="00000000-0000-0000-0000-000000000000"
ddb.uuid.parentmodification="00000000-0000-0000-0000-000000000000"
"""


def seed_document(name: str) -> dict[str, Any]:
    """seed.json. The guest's host name is the machine's name where a host name may be spelt so."""
    hostname = "wherry" if name == "default" else name.replace("_", "-").strip("-").lower()
    return {"schema": SCHEMA, "name": name, "hostname": hostname or "wherry"}


def image(document: Mapping[str, Any], authorized_keys: str) -> bytes:
    """The raw disk: a tar, padded with zeros."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, text in (
            ("seed.json", json.dumps(document, indent=2) + "\n"),
            ("authorized_keys", authorized_keys.strip() + "\n"),
        ):
            data = text.encode()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            member.mode = 0o644
            tar.addfile(member, io.BytesIO(data))
    raw = buffer.getvalue()
    return raw + bytes(-len(raw) % ROUND_BYTES)


def write(descriptor: Path, document: Mapping[str, Any], authorized_keys: str) -> None:
    """Writes `<stem>.vmdk` and, beside it, `<stem>-flat.img`."""
    raw = image(document, authorized_keys)
    flat = descriptor.with_name(f"{descriptor.stem}-flat.img")
    flat.write_bytes(raw)
    sectors = len(raw) // SECTOR_BYTES
    image_id = uuid.uuid4()
    descriptor.write_text(
        _DESCRIPTOR.format(
            content_id=image_id.hex[:8],
            sectors=sectors,
            flat=flat.name,
            cylinders=max(1, sectors // (16 * 63)),
            image_id=image_id,
        ),
        encoding="ascii",
    )
