"""The body of POST /networks/create, checked. Pure. Source: Engine API v1.51, NetworkCreate.

All problems are told at once, each with its value. What the engine understands and cannot carry out is
refused by its name; driver options that it does not know are kept and shown, as dockerd does.
"""

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from wherryd.errors import EngineError, Forbidden, InvalidParameter, NotFound, NotSupported, Unavailable
from wherryd.networks import configs, ipamconfig
from wherryd.networks.bridge import check_name
from wherryd.networks.ipamconfig import Block
from wherryd.networks.settings import BridgeOptions, SubinterfaceOptions, vlan_of
from wherryd.networks.sublinks import IPVLAN_FLAGS, IPVLAN_MODES, MACVLAN_MODES

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_BRIDGE = "com.docker.network.bridge."
_MAX_NAME = 255
_MAX_MTU = 65535
_MAX_VLAN = 4094
_ENABLE_IPV6 = "com.docker.network.enable_ipv6"


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkRequest:
    """ipv4: its addresses. ipv6: None for a network without. subinterfaces: None for a bridge network.
    config: what a configuration network has for others, None for any other (configs.py).
    """

    name: str
    ipv4: Block = Block()  # noqa: RUF009 - frozen
    ipv6: Block | None = None
    bridge: BridgeOptions = field(default_factory=BridgeOptions)
    subinterfaces: SubinterfaceOptions | None = None
    internal: bool = False
    attachable: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    ipam_options: Mapping[str, str] | None = None
    config: Mapping[str, Any] | None = None
    config_from: str = ""


def parse(body: Mapping[str, Any]) -> NetworkRequest:
    """body: completed by its configuration network. Raises InvalidParameter, Forbidden, NotFound,
    NotSupported or Unavailable, in dockerd's words."""
    name = _name(body.get("Name"))
    _check_kind(body)
    ipam = _object(body.get("IPAM"), "IPAM")
    options = _strings(body.get("Options"), "Options")
    problems: list[str] = []
    blocks = ipamconfig.blocks(_blocks(ipam), problems)
    ipv6 = _ipv6(body, options, has_subnet=6 in blocks)
    if 6 in blocks and not ipv6:
        problems.append(f"IPv6 subnet {blocks[6].subnet} given, and IPv6 is not enabled (hint: --ipv6)")
    if problems:
        raise InvalidParameter("invalid network config:\n" + "\n".join(problems))
    return NetworkRequest(
        name=name,
        ipv4=blocks.get(4, Block()),
        ipv6=blocks.get(6, Block()) if ipv6 else None,
        bridge=_bridge_options(options),
        subinterfaces=_subinterfaces(body.get("Driver") or "bridge", options),
        internal=_flag(body.get("Internal"), "Internal"),
        attachable=_flag(body.get("Attachable"), "Attachable"),
        labels=_strings(body.get("Labels"), "Labels"),
        options=options,
        ipam_options=None if ipam.get("Options") is None else _strings(ipam["Options"], "IPAM.Options"),
        config=configs.kept(body) if _flag(body.get("ConfigOnly"), "ConfigOnly") else None,
        config_from=(body.get("ConfigFrom") or {}).get("Network") or "",
    )


def _ipv6(body: Mapping[str, Any], options: Mapping[str, str], *, has_subnet: bool) -> bool:
    """EnableIPv6, or the driver option of the same meaning; where neither is said, who gives an IPv6 subnet
    wants it. (dockerd keeps the subnet then, and gives no container an address of it.)"""
    if body.get("EnableIPv6") is not None:
        return _flag(body["EnableIPv6"], "EnableIPv6")
    if _ENABLE_IPV6 in options:
        return _read_switch(_ENABLE_IPV6, options[_ENABLE_IPV6])
    return has_subnet


def _name(name: Any) -> str:
    if not isinstance(name, str) or not name.strip():
        raise InvalidParameter("invalid network name: name is empty")
    if len(name) > _MAX_NAME or not name.isprintable() or "/" in name:
        raise InvalidParameter(
            f'invalid network name: {name[:64]!r} (hint: printable, no "/", up to {_MAX_NAME} characters)'
        )
    if name in ("default", "container"):
        raise Forbidden(f"operation is not permitted on predefined {name} network")
    if name.startswith("container:"):
        raise InvalidParameter(f'invalid network name: "{name}" means the network of another container')
    return name


def _check_kind(body: Mapping[str, Any]) -> None:
    """What sort of network it is. Everything but a local one of our drivers is turned down here."""
    driver = body.get("Driver") or "bridge"
    if not isinstance(driver, str):
        raise InvalidParameter("Driver: wants a string")
    if driver not in ("bridge", "macvlan", "ipvlan"):
        raise _driver_error(driver)
    if body.get("Scope") not in (None, "", "local"):
        raise Forbidden("cannot create a swarm scoped network when swarm is not active")
    if _flag(body.get("Ingress"), "Ingress"):
        raise Unavailable(_NO_SWARM)
    if body.get("EnableIPv4") is not None and not _flag(body["EnableIPv4"], "EnableIPv4"):
        raise NotSupported("EnableIPv4: a network without IPv4 is not available")
    ipam_driver = _object(body.get("IPAM"), "IPAM").get("Driver") or "default"
    if ipam_driver != "default":
        raise NotFound(
            f'could not find plugin {ipam_driver} in v1 plugin registry: plugin "{ipam_driver}" not found'
        )


_NO_SWARM = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this '
    "node to swarm and try again."
)


def _driver_error(driver: str) -> EngineError:
    if driver in ("host", "null"):
        return Forbidden(f'only one instance of "{driver}" network is allowed')
    if driver == "overlay":
        return Unavailable(_NO_SWARM)
    return NotFound(f'plugin "{driver}" not found (hint: this engine has bridge, macvlan and ipvlan)')


def _blocks(ipam: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    blocks = ipam.get("Config") or []
    if not isinstance(blocks, list):
        raise InvalidParameter("IPAM.Config: wants a list of objects")
    return [_object(each, "IPAM.Config") for each in blocks]


def _bridge_options(options: Mapping[str, str]) -> BridgeOptions:
    """Raises InvalidParameter for a bad value, NotSupported for an option we know and do not have."""
    found: dict[str, Any] = {}
    for key, value in options.items():
        reader = _OPTIONS.get(key)
        if reader is not None:
            name, read = reader
            found[name] = read(key, value)
    return BridgeOptions(**found)


def _subinterfaces(driver: str, options: Mapping[str, str]) -> SubinterfaceOptions | None:
    """Raises InvalidParameter. Source: Docker Engine, macvlan and ipvlan network drivers, options."""
    if driver == "bridge":
        return None
    parent = options.get("parent", "")
    if parent:
        check_name(parent, "parent")
        _check_vlan(parent)
    if driver == "macvlan":
        mode = _one_of(options, "macvlan_mode", MACVLAN_MODES, "bridge")
        return SubinterfaceOptions(driver=driver, parent=parent, mode=mode)
    return SubinterfaceOptions(
        driver=driver,
        parent=parent,
        mode=_one_of(options, "ipvlan_mode", IPVLAN_MODES, "l2"),
        flag=_one_of(options, "ipvlan_flag", IPVLAN_FLAGS, "bridge"),
    )


def _check_vlan(parent: str) -> None:
    _, vlan_id = vlan_of(parent)
    if vlan_id > _MAX_VLAN:
        raise InvalidParameter(f"parent={parent}: a VLAN's id is 1 to {_MAX_VLAN}")


def _one_of(options: Mapping[str, str], key: str, known: Mapping[str, int], default: str) -> str:
    value = options.get(key) or default
    if value not in known:
        raise InvalidParameter(f'unknown {key} "{value}" (hint: {", ".join(known)})')
    return value


def _read_device(key: str, value: str) -> str:
    return check_name(value, key)


def _read_prefix(key: str, value: str) -> str:
    # Room for three digits in the kernel's 15 bytes.
    if not value.isalnum() or not value.isascii() or len(value) > 12 or value[-1].isdecimal():
        raise InvalidParameter(f"{key}: {value!r}: want up to 12 letters and digits, ending in a letter")
    return value


def _read_mtu(key: str, value: str) -> int:
    if not value.isdecimal() or not 68 <= int(value) <= _MAX_MTU:
        raise InvalidParameter(f"failed to parse {key} value: {value} (hint: bytes from 68 to {_MAX_MTU})")
    return int(value)


def _read_switch(key: str, value: str) -> bool:
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise InvalidParameter(f"failed to parse {key} value: {value} (hint: true or false)")


def _read_host_ip(key: str, value: str) -> str:
    try:
        return str(ipaddress.IPv4Address(value))
    except ValueError as error:
        raise InvalidParameter(f"{key}: {value!r} is not an IPv4 address") from error


_OPTIONS: Mapping[str, tuple[str, Callable[[str, str], Any]]] = {
    f"{_BRIDGE}name": ("device", _read_device),
    f"{_BRIDGE}enable_icc": ("icc", _read_switch),
    f"{_BRIDGE}enable_ip_masquerade": ("masquerade", _read_switch),
    f"{_BRIDGE}host_binding_ipv4": ("host_ip", _read_host_ip),
    "com.docker.network.driver.mtu": ("mtu", _read_mtu),
    "com.docker.network.container_iface_prefix": ("device_prefix", _read_prefix),
}
_REFUSED_OPTIONS: Mapping[str, frozenset[str]] = {
    f"{_BRIDGE}inhibit_ipv4": _FALSE,
    f"{_BRIDGE}gateway_mode_ipv4": frozenset({"", "nat"}),
    f"{_BRIDGE}gateway_mode_ipv6": frozenset({"", "nat"}),
    f"{_BRIDGE}trusted_host_interfaces": frozenset({""}),
}


def _strings(value: Any, where: str) -> dict[str, str]:
    found = _object(value, where)
    for key, text in found.items():
        if not isinstance(text, str):
            raise InvalidParameter(f"{where}.{key}: wants a string")
        if text not in _REFUSED_OPTIONS.get(key, (text,)):
            raise NotSupported(f"{where}: {key}={text} is not available")
    return found


def _object(value: Any, where: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidParameter(f"{where}: wants an object")
    return dict(value)


def _flag(value: Any, where: str) -> bool:
    if value is None:
        return False
    if not isinstance(value, bool):
        raise InvalidParameter(f"{where}: wants true or false")
    return value
