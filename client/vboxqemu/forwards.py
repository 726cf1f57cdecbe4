"""NAT rules as VBoxManage writes them: name,tcp|udp,host ip,host port,guest ip,guest port."""

from __future__ import annotations

from vboxqemu.errors import InvalidArgument, NotSupported, ObjectNotFound, Syntax
from vboxqemu.options import whole_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from vboxqemu.schema import Forward, Nic


def nic_number(text: str) -> int:
    """The number in --natpfN. Raises Syntax."""
    if not text.isdecimal() or not 1 <= int(text) <= 8:
        raise Syntax(f"Invalid network adapter '{text}' (1 to 8)")
    return int(text)


def parse(text: str) -> Forward:
    """Raises InvalidArgument when the rule is not six fields that make sense."""
    fields = text.split(",")
    if len(fields) != 6:
        raise InvalidArgument(
            f"Invalid NAT rule '{text}': write name,tcp|udp,hostip,hostport,guestip,guestport"
        )
    name, protocol, host_ip, host_port, guest_ip, guest_port = (field.strip() for field in fields)
    protocol = protocol.lower()
    if protocol not in ("tcp", "udp"):
        raise InvalidArgument(f"Invalid NAT rule '{text}': the protocol is tcp or udp")
    for address in (host_ip, guest_ip):
        if address and not _is_ipv4(address):
            raise InvalidArgument(f"Invalid NAT rule '{text}': '{address}' is not an IPv4 address")
    host = whole_number(host_port, "host port", least=1, most=65535)
    guest = whole_number(guest_port, "guest port", least=1, most=65535)
    return {
        "name": name or f"{protocol}_{host}_{guest}",
        "protocol": protocol,
        "host_ip": host_ip,
        "host_port": host,
        "guest_ip": guest_ip,
        "guest_port": guest,
    }


def _is_ipv4(text: str) -> bool:
    parts = text.split(".")
    return len(parts) == 4 and all(part.isdecimal() and int(part) <= 255 for part in parts)


def find(nic: Nic, name: str) -> Forward:
    """Raises ObjectNotFound when the adapter has no rule of that name."""
    for rule in nic["forwards"]:
        if rule["name"] == name:
            return rule
    raise ObjectNotFound(f"NAT rule '{name}' does not exist")


def check_new(nic: Nic, rule: Forward) -> None:
    """Raises when the rule cannot be added: wrong kind of adapter, name taken, same host port twice."""
    if nic["kind"] != "nat":
        raise NotSupported("Port forwarding needs a NAT adapter")
    for other in nic["forwards"]:
        if other["name"] == rule["name"]:
            raise InvalidArgument(f"A NAT rule of this name already exists: '{rule['name']}'")
        mine = (rule["protocol"], rule["host_ip"], rule["host_port"])
        if mine == (other["protocol"], other["host_ip"], other["host_port"]):
            raise InvalidArgument(
                f"Host port {rule['host_port']} is already used by NAT rule '{other['name']}'"
            )
