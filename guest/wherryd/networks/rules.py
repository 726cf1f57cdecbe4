"""The rule set of one bridge as text, pure. Everything of ours is in the table `ip wherry_<bridge>` and,
where the network has IPv6, a second one of the same shape, `ip6 wherry_<bridge>`.

What the rules do, in the order in which a packet meets them:

    raw          who claims to send to 127.0.0.0/8 from another machine or a container is dropped:
                 the bridge has route_localnet on (below), and without this rule that would open
                 the host's own loopback services (the hole that was CVE-2020-8558 elsewhere)
    prerouting   published ports: from other machines and from containers, by any address of this host
    output       published ports: from this host itself, by its addresses and by 127.0.0.1
    forward      to a container: answers, other containers of the bridge, published ports; else nothing.
                 So a port that is not published cannot be reached by routing to the container's address,
                 and containers of different bridges do not reach each other. An internal network lets
                 nothing in or out; one without inter-container traffic nothing from its own bridge
    postrouting  containers leave with the host's address; who was sent to a container by a published
                 port from 127.0.0.1, or from a container of the same bridge, gets the gateway's
                 address, so that the answer comes back through this host and is translated again

127.0.0.1 by rules and not by a proxy process: no process and no copy per published port, and a client's
address stays visible to the container from everywhere but the loopback. The price is route_localnet.

::1 is different: the kernel never takes a packet from ::1 over a device, so the rules leave it alone, and
the socket that holds the port serves it (portproxy.py).

Adding or removing a port is one map element and leaves the rules alone. A base chain's "accept" only
ends that chain: a FORWARD policy of drop in another table, as dockerd sets it, drops our packets too.
No table can overrule that; `foreign_drop_hint` gives the words for it.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from wherryd.networks.ipam import Address, Subnet

EVERY_ADDRESS = ipaddress.IPv4Address(0)
EVERY_ADDRESS6 = ipaddress.IPv6Address(0)
_EVERY = (EVERY_ADDRESS, EVERY_ADDRESS6)


@dataclass(frozen=True, slots=True)
class PublishedPort:
    """Host port to container port, both addresses of one family. host_ip 0.0.0.0 or :: means every address
    of the host."""

    protocol: str
    host_ip: Address
    host_port: int
    container_ip: Address
    container_port: int

    @property
    def family(self) -> str:
        """As nftables calls it."""
        return "ip" if self.host_ip.version == 4 else "ip6"


@dataclass(frozen=True, slots=True)
class Policy:
    """internal: nothing passes between the bridge and anywhere else. icc: containers of the bridge reach
    each other. masquerade: they leave with the host's address."""

    internal: bool = False
    icc: bool = True
    masquerade: bool = True


def table_name(bridge: str) -> str:
    return f"wherry_{bridge}"


def _map_and_key(port: PublishedPort) -> tuple[str, str]:
    if port.host_ip in _EVERY:
        return "published", f"{port.protocol} . {port.host_port}"
    return "published_at", f"{port.protocol} . {port.host_ip} . {port.host_port}"


def add_ports(bridge: str, ports: Iterable[PublishedPort]) -> str:
    """Script that publishes ports; fails as a whole when one is in the map with another target."""
    lines = []
    for port in ports:
        name, key = _map_and_key(port)
        target = f"{port.container_ip} . {port.container_port}"
        lines.append(f"add element {port.family} {table_name(bridge)} {name} {{ {key} : {target} }}\n")
    return "".join(lines)


def delete_ports(bridge: str, ports: Iterable[PublishedPort]) -> str:
    """Script that takes ports back; fails as a whole when one is not there."""
    lines = []
    for port in ports:
        name, key = _map_and_key(port)
        lines.append(f"delete element {port.family} {table_name(bridge)} {name} {{ {key} }}\n")
    return "".join(lines)


def delete_table(bridge: str, family: str = "ip") -> str:
    """Script that removes the table, there or not. family: "ip" or "ip6"."""
    name = table_name(bridge)
    return f"add table {family} {name}\ndelete table {family} {name}\n"


def whole_table(
    bridge: str,
    subnet: Subnet,
    ports: Iterable[PublishedPort],
    policy: Policy = Policy(),  # noqa: B008 - frozen
) -> str:
    """Script that puts the whole table of the subnet's family in place of an earlier one, in one transaction.

    ports: those of the other family are left out.
    """
    family, kind = ("ip", "ipv4_addr") if subnet.version == 4 else ("ip6", "ipv6_addr")
    loopback = "127.0.0.0/8" if family == "ip" else "::1"
    destination = f"meta l4proto . {family} daddr . th dport map @published_at"
    anywhere = "meta l4proto . th dport map @published"
    # ::1 is not for the rules, see above.
    sparing = "" if family == "ip" else "ip6 daddr != ::1 "
    translate = f"""\
    {sparing}dnat {family} to {destination}
    {sparing}fib daddr type local dnat {family} to {anywhere}"""
    own = [port for port in ports if port.family == family]
    return f"""\
{delete_table(bridge, family)}table {family} {table_name(bridge)} {{
  map published {{
    type inet_proto . inet_service : {kind} . inet_service
  }}
  map published_at {{
    type inet_proto . {kind} . inet_service : {kind} . inet_service
  }}
  chain raw {{
    type filter hook prerouting priority -300; policy accept;
    iifname != "lo" {family} daddr {loopback} drop
  }}
  chain prerouting {{
    type nat hook prerouting priority -100; policy accept;
{translate}
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
{translate}
  }}
  chain forward {{
    type filter hook forward priority 0; policy accept;
{_forward(bridge, policy)}
  }}
  chain postrouting {{
    type nat hook postrouting priority 100; policy accept;
{_postrouting(bridge, subnet, policy)}
  }}
}}
{add_ports(bridge, own)}"""


def _forward(bridge: str, policy: Policy) -> str:
    lines = []
    if policy.internal:
        lines += [
            f'iifname "{bridge}" oifname != "{bridge}" drop',
            f'oifname "{bridge}" iifname != "{bridge}" drop',
        ]
    lines.append(f'oifname "{bridge}" ct state established,related accept')
    if policy.icc:
        lines.append(f'iifname "{bridge}" oifname "{bridge}" accept')
    lines += [f'oifname "{bridge}" ct status dnat accept', f'oifname "{bridge}" drop']
    return "\n".join(f"    {line}" for line in lines)


def _postrouting(bridge: str, subnet: Subnet, policy: Policy) -> str:
    family = "ip" if subnet.version == 4 else "ip6"
    lines = []
    if policy.masquerade and not policy.internal:
        lines.append(f'{family} saddr {subnet} oifname != "{bridge}" masquerade')
    if family == "ip":
        lines.append(f'ip saddr 127.0.0.0/8 oifname "{bridge}" ct status dnat masquerade')
    lines.append(f'{family} saddr {subnet} oifname "{bridge}" ct status dnat masquerade')
    return "\n".join(f"    {line}" for line in lines)


def foreign_drop_hint(bridge: str) -> str:
    """What to do when somebody else's FORWARD chain drops by default."""
    return (
        f"another program's FORWARD chain drops by default, so containers on {bridge} cannot reach the "
        f"network (hint: `iptables -I FORWARD -i {bridge} -j ACCEPT` and "
        f"`iptables -I FORWARD -o {bridge} -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT`)"
    )
