"""The values that cross the door of `networks`: what to publish, and what a container was given."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PortBinding:
    """One published port.

    host_ip: an IPv4 address of this host; "" means "0.0.0.0", every address. host_port: 1..65535, or 0
    to pick a free one. container_port: 1..65535. protocol: "tcp" or "udp". host_port_last: with
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
class Sandbox:
    """What a container got. Everything is text or numbers, ready for the Engine API's NetworkSettings.

    sandbox_id: 64 hex digits. netns_path: a network namespace bound to a file, for the runtime spec's
    `linux.namespaces[].path`; None means "the engine's own namespace" (mode "host"). key: Docker's
    SandboxKey, "" where Docker shows none. mode: "bridge", "none", "host" or "container:<id>".
    network: name of the network, "" for "container:<id>", whose network settings Docker leaves empty.
    ip, gateway, mac: "" where the mode has none (and prefix_length 0). ports: with host_port resolved.
    """

    sandbox_id: str
    netns_path: str | None
    key: str
    mode: str
    network: str
    network_id: str
    endpoint_id: str = ""
    ip: str = ""
    prefix_length: int = 0
    gateway: str = ""
    mac: str = ""
    ports: tuple[PortBinding, ...] = ()
