"""os[/architecture[/variant]], as Docker writes platforms. Names: OCI image-index, "platform"."""

import platform

from wherryd.errors import InvalidParameter
from wherryd.images.image import Platform

_MACHINES = {
    "x86_64": ("amd64", ""),
    "amd64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "arm64": ("arm64", ""),
    "armv7l": ("arm", "v7"),
    "armhf": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "i386": ("386", ""),
    "i686": ("386", ""),
}


def host() -> Platform:
    architecture, variant = _MACHINES.get(platform.machine(), (platform.machine(), ""))
    return Platform("linux", architecture, variant)


def parse(text: str) -> Platform:
    """ "" is this machine's own. Raises InvalidParameter for another system than Linux."""
    if not text:
        return host()
    system, _, rest = text.lower().partition("/")
    architecture, _, variant = rest.partition("/")
    if system != "linux":
        raise InvalidParameter(f'operating system "{system}" is not supported; Wherry runs linux images')
    if "/" in variant:
        raise InvalidParameter(f'"{text}": invalid platform; write it as os/architecture/variant')
    known, implied = _MACHINES.get(architecture, (architecture, ""))
    mine = host()
    return Platform(
        "linux", known or mine.architecture, variant or implied or ("" if known else mine.variant)
    )
