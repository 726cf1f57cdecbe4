"""Which versions of the Engine API are spoken, and how a request names one.

Source: Engine API, "Versioning". An unversioned path means the newest version we speak.
"""

import re

from wherryd.errors import InvalidParameter

MINIMUM = (1, 24)
MAXIMUM = (1, 51)

#: As a path begins with it.
PREFIX = re.compile(r"/v(\d+(?:\.\d+)+)(?=/)")

_SHAPE = re.compile(r"(\d{1,4})\.(\d{1,4})")


def text(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def parse(value: str | None) -> tuple[int, int]:
    """The version a path names, the newest for None. Raises InvalidParameter outside of what is spoken."""
    if value is None:
        return MAXIMUM
    match = _SHAPE.fullmatch(value)
    if match is None:
        raise InvalidParameter(f'API version "{value}" is not a number like {text(MAXIMUM)}')
    version = int(match[1]), int(match[2])
    if version > MAXIMUM:
        raise InvalidParameter(
            f"client version {value} is too new. Maximum supported API version is {text(MAXIMUM)}"
        )
    if version < MINIMUM:
        raise InvalidParameter(
            f"client version {value} is too old. Minimum supported API version is {text(MINIMUM)}, "
            "please upgrade your client to a newer version"
        )
    return version
