"""Who is where: the sandboxes of containers and their endpoints, as one service holds them in memory."""

from collections.abc import Callable, Iterable, Sequence

from wherryd.networks.bridge import published_ports
from wherryd.networks.endpoint import Endpoint, SandboxRecord
from wherryd.networks.ports import Reservation
from wherryd.networks.rules import PublishedPort

SHORT_ID = 12


def gateway_of(
    endpoints: Iterable[Endpoint], is_internal: Callable[[str], bool], *, version: int = 4
) -> Endpoint | None:
    """The endpoint that gives the default route of a family: the highest priority, then the name that sorts
    first.

    An internal network never does. Source: moby, libnetwork, endpoint order.
    """
    candidates = [
        each
        for each in endpoints
        if each.has_device and not is_internal(each.network) and (version == 4 or each.address6)
    ]
    return min(candidates, key=_gateway_order) if candidates else None


def _gateway_order(endpoint: Endpoint) -> tuple[int, str]:
    return -endpoint.gw_priority, endpoint.network


class Members:
    """Sandboxes and endpoints by container id. is_internal: of a bridge network's name."""

    def __init__(self, is_internal: Callable[[str], bool]) -> None:
        self._is_internal = is_internal
        self.sandboxes: dict[str, SandboxRecord] = {}
        self.reservations: dict[str, Sequence[Reservation]] = {}
        self._endpoints: dict[str, dict[str, Endpoint]] = {}
        #: Another number after every change, for those who keep what they have worked out.
        self.revision = 0

    def put(self, sandbox: SandboxRecord, *endpoints: Endpoint) -> None:
        """New, or in place of what is known."""
        self.sandboxes[sandbox.container_id] = sandbox
        own = self._endpoints.setdefault(sandbox.container_id, {})
        own.update({endpoint.network: endpoint for endpoint in endpoints})
        self.revision += 1

    def drop(self, endpoint: Endpoint) -> None:
        self._endpoints.get(endpoint.container_id, {}).pop(endpoint.network, None)
        self.revision += 1

    def pop(self, container_id: str) -> tuple[SandboxRecord | None, Sequence[Endpoint]]:
        """Takes the sandbox out with all of its endpoints."""
        self.revision += 1
        endpoints = self._endpoints.pop(container_id, {})
        return self.sandboxes.pop(container_id, None), tuple(endpoints.values())

    def clear(self) -> None:
        self.sandboxes.clear()
        self._endpoints.clear()
        self.reservations.clear()
        self.revision += 1

    def renamed(self) -> None:
        """A container is: who keeps names must ask again."""
        self.revision += 1

    def of(self, container_id: str) -> Sequence[Endpoint]:
        """A container's endpoints, in the order in which it joined."""
        return tuple(self._endpoints.get(container_id, {}).values())

    def at(self, container_id: str, network: str) -> Endpoint | None:
        return self._endpoints.get(container_id, {}).get(network)

    def on(self, network: str) -> Sequence[Endpoint]:
        """Every endpoint of a network."""
        return tuple(own[network] for own in self._endpoints.values() if network in own)

    def everybody(self) -> Sequence[Endpoint]:
        return tuple(endpoint for own in self._endpoints.values() for endpoint in own.values())

    def gateway(self, container_id: str) -> Endpoint | None:
        return gateway_of(self.of(container_id), self._is_internal)

    def published_on(self, network: str) -> list[PublishedPort]:
        """What the rules of this network's bridge have to publish: of those whose default route it is."""
        found: list[PublishedPort] = []
        for endpoint in self.on(network):
            sandbox = self.sandboxes[endpoint.container_id]
            if sandbox.ports and self.gateway(endpoint.container_id) == endpoint:
                found += published_ports(endpoint, sandbox.ports)
        return found


def dns_names(endpoint: Endpoint, sandbox: SandboxRecord, container_name: str) -> tuple[str, ...]:
    """What a container is called on a network: name, aliases, short id, hostname. Each once."""
    names = (container_name, *endpoint.aliases, endpoint.container_id[:SHORT_ID], sandbox.hostname)
    return tuple(dict.fromkeys(name for name in names if name))
