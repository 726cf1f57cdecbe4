"""`--network` and what belongs to the first network: aliases, addresses, links."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from wherry.errors import UsageProblem

_MAC = re.compile(r"^[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}$")
_BUILT_IN = frozenset({"default", "bridge", "host", "none"})


@dataclass(slots=True)
class Attachment:
    """One network and how to join it."""

    target: str
    aliases: list[str] = field(default_factory=list)
    driver_opts: dict[str, str] = field(default_factory=dict)
    ip: str = ""
    ip6: str = ""
    link_local: list[str] = field(default_factory=list)
    mac: str = ""
    gw_priority: int = 0

    def settings(self) -> dict[str, Any]:
        """EndpointSettings; empty if nothing was asked for."""
        made: dict[str, Any] = {}
        if self.aliases:
            made["Aliases"] = self.aliases
        if self.driver_opts:
            made["DriverOpts"] = self.driver_opts
        wanted = (("IPv4Address", self.ip), ("IPv6Address", self.ip6), ("LinkLocalIPs", self.link_local))
        ipam = {key: value for key, value in wanted if value}
        if ipam:
            made["IPAMConfig"] = ipam
        if self.mac:
            made["MacAddress"] = self.mac
        if self.gw_priority:
            made["GwPriority"] = self.gw_priority
        return made


def user_defined(mode: str) -> bool:
    return mode not in _BUILT_IN and not mode.startswith("container:")


def attachments(
    networks: Iterable[str],
    *,
    aliases: Iterable[str] = (),
    ip: str = "",
    ip6: str = "",
    mac: str = "",
    link_local: Iterable[str] = (),
) -> list[Attachment]:
    """All networks, the single options given to the first. Raises UsageProblem."""
    made = [_attachment(text) for text in networks] or [Attachment("default")]
    first = made[0]
    for option, old, new in (
        ("--ip", first.ip, ip),
        ("--ip6", first.ip6, ip6),
        ("--mac-address", first.mac, mac),
    ):
        if old and new:
            raise UsageProblem(f"conflicting options: cannot specify both {option} and a per-network one")
    first.aliases += aliases
    first.link_local += link_local
    first.ip, first.ip6, first.mac = first.ip or ip, first.ip6 or ip6, first.mac or mac
    _check(made)
    return made


def _attachment(text: str) -> Attachment:
    if "=" not in text:
        return Attachment(text)
    made = Attachment("")
    import csv

    for part in next(csv.reader([text]), []):
        key, _, value = (word.strip() for word in part.partition("="))
        match key:
            case "name":
                made.target = value
            case "alias":
                made.aliases.append(value)
            case "driver-opt":
                name, _, setting = value.partition("=")
                made.driver_opts[name] = setting
            case "ip":
                made.ip = value
            case "ip6":
                made.ip6 = value
            case "link-local-ip":
                made.link_local.append(value)
            case "mac-address":
                made.mac = value
            case "gw-priority" if value.lstrip("-").isdecimal():
                made.gw_priority = int(value)
            case _:
                raise UsageProblem(f"invalid field '{part}' in --network; write name=NETWORK[,key=value]")
    return made


def _check(made: list[Attachment]) -> None:
    targets = [attachment.target for attachment in made]
    for attachment in made:
        if not attachment.target.strip():
            raise UsageProblem("no name set for network; write --network NAME")
        if targets.count(attachment.target) > 1:
            raise UsageProblem(f'network "{attachment.target}" is specified multiple times')
        if attachment.aliases and not user_defined(attachment.target):
            raise UsageProblem("network-scoped aliases are only supported for user-defined networks")
        if attachment.mac and not _MAC.match(attachment.mac.strip()):
            raise UsageProblem(f"{attachment.mac} is not a valid mac address")
    if len({user_defined(target) for target in targets}) > 1:
        raise UsageProblem(
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes"
        )
