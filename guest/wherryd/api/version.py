"""Which versions of the Engine API are spoken, and how a request names one.

Source: Engine API, "Versioning". An unversioned path means the newest version we speak.
"""

import re

from wherryd.errors import InvalidParameter

MINIMUM = (1, 24)
MAXIMUM = (1, 51)

#: As a path begins with it: digits and dots, whatever number they make.
PREFIX = re.compile(r"/v([0-9.]+)(?=/)")

#: Longer ones are no number that anybody means.
_MAX_CHARACTERS = 32


def text(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def parse(value: str | None) -> tuple[int, int]:
    """The version a path names, the newest for None. Raises InvalidParameter outside of what is spoken.

    As the reference daemon compares them: part by part, and a part that is missing or empty is 0.
    """
    if value is None:
        return MAXIMUM
    if len(value) > _MAX_CHARACTERS:
        raise InvalidParameter(f"API version: longer than {_MAX_CHARACTERS} characters")
    major, minor, *rest = [int(part or 0) for part in value.split(".")] + [0]
    version = major, minor
    if (version, any(rest)) > (MAXIMUM, False):
        raise InvalidParameter(
            f"client version {value} is too new. Maximum supported API version is {text(MAXIMUM)}"
        )
    if version < MINIMUM:
        raise InvalidParameter(
            f"client version {value} is too old. Minimum supported API version is {text(MINIMUM)}, "
            "please upgrade your client to a newer version"
        )
    return version
