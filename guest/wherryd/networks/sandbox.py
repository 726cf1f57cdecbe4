"""The values that cross the door of `networks`: what to connect and publish, what a container was given."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PortBinding:
    """One published port.

    host_ip: an address of this host; "" means every one, of IPv4 and IPv6. host_port: 1..65535, or 0 to
    pick a free one. container_port: 1..65535. protocol: "tcp", "udp" or "sctp". host_port_last: with
    host_port, a range of which the first free port is taken (docker run -p 8000-8010:80); 0 is no range.
    """

    host_ip: str
    host_port: int
    container_port: int
    protocol: str
    host_port_last: int = 0

    @property
    def key(self) -> str:
        """The Engine API's name of the container's end: "80/tcp"."""
        return f"{self.container_port}/{self.protocol}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointWish:
    """How to join one network.

    network: name or id. ip, ip6: addresses of its own, "" for the next free ones. mac: likewise, None for
    one made from the address. aliases: further names on this network. links: `container:alias`, a name or
    id of another one and what only this container calls it. gw_priority: the network with the highest gives
    the default route; ties go to the name that sorts first. link_local: further addresses, for
    neighbours only; of IPv6 where the network has it. device: what its device is called inside, "" for the
    next eth0, eth1, ... sysctls: of that device (deviceoptions.py).
    """

    network: str
    ip: str = ""
    ip6: str = ""
    mac: str | None = None
    aliases: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    gw_priority: int = 0
    link_local: tuple[str, ...] = ()
    device: str = ""
    sysctls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """One network as a container has it. Addresses are "" (and prefix_length 0) where there are none.

    user_defined: one that a user made, where names are resolved. dns_names: what it is called there.
    """

    network: str
    network_id: str
    endpoint_id: str
    ip: str = ""
    prefix_length: int = 0
    gateway: str = ""
    ip6: str = ""
    prefix_length6: int = 0
    gateway6: str = ""
    mac: str = ""
    user_defined: bool = False
    internal: bool = False
    gw_priority: int = 0
    dns_names: tuple[str, ...] = ()


_NOWHERE = Attachment(network="", network_id="", endpoint_id="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """What a container got. Everything is text or numbers, ready for the Engine API's NetworkSettings.

    sandbox_id: 64 hex digits. netns_path: a network namespace bound to a file, for the runtime spec's
    `linux.namespaces[].path`; None means "the engine's own namespace" (mode "host"). key: Docker's
    SandboxKey, "" where Docker shows none. mode: "bridge", "none", "host", "container:<id>" or the name
    of a user's network. attachments: its networks, the one with the default route first; none for
    "container:<id>", whose network settings Docker leaves empty. userns_path: the user namespace that owns
    it, with the ids from id_base on (spec/idrange.py); None and 0 when that is the engine's own. ports: with
    host_port resolved; empty while no network can publish them. resolver: whether the engine answers names
    at 127.0.0.11.
    """

    sandbox_id: str
    netns_path: str | None
    key: str
    mode: str
    attachments: tuple[Attachment, ...] = ()
    ports: tuple[PortBinding, ...] = ()
    resolver: bool = False
    userns_path: str | None = None
    id_base: int = 0

    @property
    def primary(self) -> Attachment:
        """The network with the default route, or the first; one of empty texts when there is none."""
        return self.attachments[0] if self.attachments else _NOWHERE

    @property
    def network(self) -> str:
        return self.primary.network

    @property
    def network_id(self) -> str:
        return self.primary.network_id

    @property
    def endpoint_id(self) -> str:
        return self.primary.endpoint_id

    @property
    def ip(self) -> str:
        return self.primary.ip

    @property
    def prefix_length(self) -> int:
        return self.primary.prefix_length

    @property
    def gateway(self) -> str:
        return self.primary.gateway

    @property
    def mac(self) -> str:
        return self.primary.mac

    def on(self, network: str) -> Attachment | None:
        """Its place on the network of that name, or None."""
        return next((each for each in self.attachments if each.network == network), None)
