"""Options of one endpoint's device: EndpointSettings.DriverOpts. Pure.

    com.docker.network.endpoint.ifname   the device's name in the container, in place of eth0, eth1, ...
    com.docker.network.endpoint.sysctls  net.ipv4.conf.IFNAME.NAME=VALUE,...; IFNAME stands for that name

Others are kept and shown, as dockerd does. Source: Docker Engine, "Networking overview"; sysctl(8).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from wherryd.errors import InvalidParameter

IFNAME = "com.docker.network.endpoint.ifname"
SYSCTLS = "com.docker.network.endpoint.sysctls"
#: What the device's name stands for in a path below /proc/sys.
PLACEHOLDER = "IFNAME"
# The kernel takes more; these are safe in a path, too. Its limit is 15 bytes.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}")
# docker's command writes all of a --network in small letters.
_SYSCTL = re.compile(r"(net\.(?:ipv4|ipv6|mpls)\.(?:conf|neigh))\.(?:IFNAME|ifname)\.([a-z0-9_]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceOptions:
    """name: "" for the next free one. sysctls: "net/ipv4/conf/IFNAME/log_martians=1", in order."""

    name: str = ""
    sysctls: tuple[str, ...] = ()


def parse(options: Mapping[str, str]) -> DeviceOptions:
    """Raises InvalidParameter."""
    name = options.get(IFNAME, "")
    if name and (not _NAME.fullmatch(name) or name == "lo"):
        raise InvalidParameter(
            f'{IFNAME}: "{name}": want up to 15 letters, digits, "_", "." or "-", such as lan0, and not lo'
        )
    given = filter(None, options.get(SYSCTLS, "").split(","))
    return DeviceOptions(name=name, sysctls=tuple(_sysctl(each.strip()) for each in given))


def _sysctl(text: str) -> str:
    key, equals, value = text.partition("=")
    found = _SYSCTL.fullmatch(key)
    if not equals or not found or not value.isascii():
        raise InvalidParameter(
            f"{SYSCTLS}: unrecognised network interface sysctl '{text}'; write net.X.conf.{PLACEHOLDER}.Z=V "
            "(X is ipv4, ipv6 or mpls)"
        )
    return f"{found[1].replace('.', '/')}/{PLACEHOLDER}/{found[2]}={value}"
