"""Header fields of every answer, also of an error and of a connection that is taken over.

Source: Engine API 1.51, "Versioning"; clients go by Api-Version and Ostype wherever they see them first.
"""

from collections.abc import Mapping
from typing import Final

from wherryd.api import version
from wherrywire import __version__

COMMON: Final[Mapping[str, str]] = {
    "Server": f"Wherry/{__version__} (linux)",
    "Api-Version": version.text(version.MAXIMUM),
    "Ostype": "linux",
    "Docker-Experimental": "false",
}


def head(status_line: str, fields: Mapping[str, str]) -> bytes:
    """The head of an answer behind which the connection is a stream."""
    lines = [status_line, *(f"{name}: {value}" for name, value in {**fields, **COMMON}.items())]
    return "\r\n".join([*lines, "", ""]).encode()
