"""os[/architecture[/variant]], as Docker writes platforms. Names: OCI image-index, "platform"."""

import os
from collections.abc import Mapping
from typing import Any

from wherryd.errors import InvalidParameter, NotFound
from wherryd.images.image import Platform
from wherryd.registry import manifests

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
    architecture, variant = _MACHINES.get(os.uname().machine, (os.uname().machine, ""))
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


def text(platform: Platform) -> str:
    return str(_plain(platform))


def fits(offered: Platform, wanted: Platform) -> bool:
    """Whether what is made for the one runs on the other."""
    return manifests.fits(_plain(offered), _plain(wanted))


def _plain(platform: Platform) -> manifests.Platform:
    return manifests.Platform(platform.os, platform.architecture, platform.variant)


def check(config: Mapping[str, Any], wanted: Platform, name: str) -> None:
    """That an image without an index is for the platform the user asked for. Raises NotFound."""
    fields = (str(config.get(key) or "") for key in ("os", "architecture", "variant"))
    actual = manifests.Platform(*fields)
    target = manifests.Platform(wanted.os, wanted.architecture, wanted.variant)
    if not manifests.fits(actual, target):
        raise NotFound(
            f"image with reference {name} was found but does not match the specified platform: "
            f"wanted {target}, actual: {actual}"
        )
