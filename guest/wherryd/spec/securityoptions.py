"""What `--security-opt` says of one thing. Source: Docker Engine API, HostConfig.SecurityOpt."""

from collections.abc import Sequence
from typing import Final

#: No profile, no filter.
UNCONFINED: Final = "unconfined"


def value(options: Sequence[str] | None, name: str) -> str:
    """Of the last option of that name; "" when there is none. Docker takes a colon too."""
    found = ""
    for option in options or ():
        for separator in "=:":
            key, given, rest = option.partition(separator)
            if given and key == name:
                found = rest
                break
    return found


def apparmor_profile(options: Sequence[str] | None) -> str:
    """The profile to be entered; "" for none."""
    wanted = value(options, "apparmor")
    return "" if wanted == UNCONFINED else wanted
