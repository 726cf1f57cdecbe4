"""Connecting containers: attach, detach, and one network more or less while they run. Under one lock.

Order everywhere: what can be refused first, then the record, then the kernel, then what this process
knows. An error undoes all of it in reverse.
"""

import asyncio
import contextlib
import ipaddress
import logging
import secrets
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from wherryd.errors import Conflict, EngineError, Forbidden, InvalidParameter
from wherryd.networks import namespaces, ports, wishes
from wherryd.networks.bridge import new_veth_name, published_ports
from wherryd.networks.catalog import Network, NetworkCatalog
from wherryd.networks.dns.resolvers import Resolvers
from wherryd.networks.endpoint import Endpoint, EndpointStore, SandboxRecord, device_name
from wherryd.networks.fabric import DEVICE_DRIVERS, Fabric, Segment
from wherryd.networks.ipam import Address, AddressPool, mac_of
from wherryd.networks.links import set_default_routes
from wherryd.networks.members import Members, gateway_of
from wherryd.networks.namespaces import Namespace, SandboxPool
from wherryd.networks.portproxy import PortProxy
from wherryd.networks.ports import PortTable, Reservation
from wherryd.networks.recovery import Found
from wherryd.networks.sandbox import EndpointWish, PortBinding
from wherryd.spec import idrange

_log = logging.getLogger(__name__)
_JOIN = "container:"
Later = Callable[[Coroutine[Any, Any, None]], None]


@dataclass(frozen=True, slots=True)
class Joined:
    """Who attaches, and how: as in NetworkService.attach."""

    container_id: str
    mode: str
    hostname: str
    dns: tuple[str, ...]
    serves_port_53: bool
    id_base: int = 0
    user_namespace: str = ""

    async def namespace(self, pool: SandboxPool) -> Namespace:
        """Raises KernelFault, RuntimeFault."""
        if self.user_namespace:
            return await pool.make_inside(Path(self.user_namespace))
        return await pool.take(idrange.mappings(self.id_base))


@dataclass(frozen=True, slots=True, kw_only=True)
class Attacher:
    """All calls are made under the service's lock."""

    catalog: NetworkCatalog
    fabric: Fabric
    store: EndpointStore
    members: Members
    ports: PortTable
    pool: SandboxPool
    resolvers: Resolvers
    directory: Path
    container_name: Callable[[str], str]

    # attach

    async def attach(
        self,
        joined: Joined,
        wanted_networks: Sequence[EndpointWish],
        wanted: Mapping[str, Sequence[PortBinding]],
    ) -> None:
        """Raises what NetworkService.attach says."""
        if joined.container_id in self.members.sandboxes:
            raise Conflict(
                f"container {joined.container_id} is attached to a network already (hint: detach it)"
            )
        if joined.mode.startswith(_JOIN):
            self._join(joined)
            return
        networks = [wishes.check(self.catalog, self.fabric, wish) for wish in wanted_networks]
        if networks[0].driver in DEVICE_DRIVERS:
            await self._attach_devices(joined, list(zip(networks, wanted_networks, strict=True)), wanted)
        elif len(networks) > 1:
            raise InvalidParameter(_LONELY)
        else:
            await self._attach_other(joined, networks[0])

    def _join(self, joined: Joined) -> None:
        """The namespace is fixed here, not looked up later: "none found" must never come to mean "the
        engine's own"."""
        target = self.members.sandboxes.get(joined.mode.removeprefix(_JOIN))
        if target is None:
            raise Conflict(
                f"cannot join network of a non running container: {joined.mode.removeprefix(_JOIN)} "
                "(hint: start it first)"
            )
        record = SandboxRecord(
            container_id=joined.container_id,
            sandbox_id=target.sandbox_id,
            mode=joined.mode,
            hostname=joined.hostname,
            host_namespace=target.host_namespace,
            id_base=target.id_base,
        )
        self.store.save(record)
        self.members.put(record)

    async def _attach_other(self, joined: Joined, network: Network) -> None:
        """The networks none and host."""
        host = network.name == "host"
        async with contextlib.AsyncExitStack() as undo:
            sandbox_id = secrets.token_hex(32)
            if not host:
                namespace = await joined.namespace(self.pool)
                namespace.close()
                undo.callback(namespaces.remove, namespace.path)
                sandbox_id = namespace.sandbox_id
            record = _record(joined, network.name, sandbox_id, host_namespace=host)
            endpoint = Endpoint(
                container_id=joined.container_id,
                sandbox_id=sandbox_id,
                network=network.name,
                endpoint_id=secrets.token_hex(32),
                device="",
            )
            self.store.save(record, endpoint)
            undo.pop_all()
        self.members.put(record, endpoint)

    async def _attach_devices(
        self,
        joined: Joined,
        joining: Sequence[tuple[Network, EndpointWish]],
        wanted: Mapping[str, Sequence[PortBinding]],
    ) -> None:
        """Ports first: a taken one is the usual failure, and nothing has to be undone in the kernel then."""
        async with contextlib.AsyncExitStack() as undo:
            endpoints: list[Endpoint] = []
            for network, wish in joining:
                endpoints.append(self._endpoint(joined.container_id, network, wish, endpoints, undo))
            publisher = self._publisher(endpoints)
            unpublished = ports.validate(wanted)
            reservations = self._reserve(publisher, unpublished) if publisher else []
            undo.callback(self.ports.release, reservations)
            namespace = await joined.namespace(self.pool)
            undo.callback(namespaces.remove, namespace.path)
            with contextlib.closing(namespace):
                record = replace(
                    _record(joined, joining[0][0].name, namespace.sandbox_id),
                    wanted=unpublished,
                    ports=tuple(reservation.binding for reservation in reservations),
                )
                endpoints = [replace(each, sandbox_id=namespace.sandbox_id) for each in endpoints]
                self.store.save(record, *endpoints)
                undo.callback(self.store.delete_all, joined.container_id)
                await asyncio.to_thread(self._plug_all, namespace, record, endpoints)
            undo.push_async_callback(asyncio.to_thread, self._take_back, record, endpoints)
            undo.callback(self.members.pop, joined.container_id)
            self.members.put(record, *endpoints)
            await self._serve_names(joined.container_id)
            self.members.reservations[joined.container_id] = reservations
            self.serve_ports(joined.container_id)
            undo.pop_all()

    def _endpoint(
        self,
        container_id: str,
        network: Network,
        wish: EndpointWish,
        siblings: Sequence[Endpoint],
        undo: contextlib.AsyncExitStack,
    ) -> Endpoint:
        """Chooses address, MAC and device names."""
        segment = self.fabric.named(network.name)
        address = _take(segment.addresses, wish.ip, undo)
        address6 = _take(segment.addresses6, wish.ip6, undo) if segment.addresses6 is not None else ""
        return Endpoint(
            container_id=container_id,
            sandbox_id="",
            network=network.name,
            endpoint_id=secrets.token_hex(32),
            address=str(address),
            address6=str(address6),
            mac=_mac(wish.mac, address) if segment.bridge.own_macs else "",
            veth=new_veth_name() if segment.bridge.publishes else "",
            device=device_name(wish, segment.options.device_prefix, siblings),
            aliases=wish.aliases,
            links=wish.links,
            gw_priority=wish.gw_priority,
            link_local=wish.link_local,
            sysctls=wish.sysctls,
        )

    def _reserve(self, gateway: Endpoint, wanted: Sequence[PortBinding]) -> Sequence[Reservation]:
        default = self.fabric.named(gateway.network).options.host_ip
        try:
            return self.ports.reserve(ports.with_default(wanted, default))
        except Conflict as error:
            name = self.container_name(gateway.container_id)
            raise Conflict(
                f"driver failed programming external connectivity on endpoint {name} "
                f"({gateway.endpoint_id}): {error}"
            ) from error

    def _plug_all(self, namespace: Namespace, record: SandboxRecord, endpoints: Sequence[Endpoint]) -> None:
        """In a worker thread. Leaves nothing when it fails."""
        gateway, gateway6 = self._gateways(endpoints)
        with contextlib.ExitStack() as undo:
            for endpoint in endpoints:
                segment = self._opened(endpoint.network)
                gateways = segment.gateways(ipv4=endpoint == gateway, ipv6=endpoint == gateway6)
                segment.bridge.plug(namespace, endpoint, gateways=gateways)
                undo.callback(segment.bridge.unplug, endpoint, published=False)
            if publisher := self._publisher(endpoints):
                self._publish(record, publisher)
            undo.pop_all()

    def _publisher(self, endpoints: Sequence[Endpoint]) -> Endpoint | None:
        """Whose network publishes the ports: that of the default route, if it can."""
        gateway = gateway_of(endpoints, self.fabric.is_internal)
        return gateway if gateway and self.fabric.named(gateway.network).bridge.publishes else None

    def _gateways(self, endpoints: Sequence[Endpoint]) -> tuple[Endpoint | None, Endpoint | None]:
        """(of IPv4, of IPv6)"""
        internal = self.fabric.is_internal
        return gateway_of(endpoints, internal), gateway_of(endpoints, internal, version=6)

    def _unplug_all(self, record: SandboxRecord, endpoints: Sequence[Endpoint]) -> None:
        """In a worker thread: each is done also when one before it fails."""
        with contextlib.ExitStack() as steps:
            for endpoint in endpoints:
                if endpoint.has_device:
                    bridge = self.fabric.named(endpoint.network).bridge
                    steps.callback(bridge.unplug, endpoint, published=bool(record.ports))

    def _take_back(self, record: SandboxRecord, endpoints: Sequence[Endpoint]) -> None:
        """The reverse of `_plug_all`, in a worker thread."""
        publisher = self._publisher(endpoints)
        with contextlib.ExitStack() as steps:
            steps.callback(self._unplug_all, record, endpoints)
            if publisher is not None:
                self._unpublish(record, publisher)

    def _opened(self, network: str) -> Segment:
        """A segment that could not be opened before (another device had its subnet) gets another chance."""
        segment = self.fabric.named(network)
        if not segment.bridge.is_open:
            segment.bridge.open()
            segment.bridge.replace_rules(self.members.published_on(network))
        return segment

    def _publish(self, record: SandboxRecord, target: Endpoint) -> None:
        added = published_ports(target, record.ports)
        others = [port for port in self.members.published_on(target.network) if port not in added]
        self.fabric.named(target.network).bridge.publish(added, others)

    def _unpublish(self, record: SandboxRecord, target: Endpoint) -> None:
        """Call when `members` does not know this target of the ports any more."""
        remaining = self.members.published_on(target.network)
        bridge = self.fabric.named(target.network).bridge
        bridge.unpublish(published_ports(target, record.ports), remaining)

    async def _serve_names(self, container_id: str) -> None:
        """A resolver where a user's network is joined, none elsewhere."""
        record = self.members.sandboxes[container_id]
        on_own = any(
            self.catalog.named(endpoint.network).user_defined for endpoint in self.members.of(container_id)
        )
        if on_own and record.owns_namespace:
            await self.resolvers.open(container_id)
        else:
            self.resolvers.stop(container_id)

    # detach

    async def detach(self, container_id: str, later: Later) -> Sequence[Endpoint]:
        """The endpoints it had; what takes long is handed to `later`."""
        gateway = self.members.gateway(container_id)
        record, endpoints = self.members.pop(container_id)
        if record is None:
            return ()
        # Its sockets would keep the namespace.
        self.resolvers.stop(container_id)
        reservations = self.members.reservations.pop(container_id, [])
        with contextlib.ExitStack() as steps:  # each is done also when one before it fails
            steps.callback(later, self._dismantle(record, endpoints))
            steps.callback(self.store.delete_all, container_id)
            steps.callback(self.ports.release, reservations)
            if gateway is not None and record.ports:
                await asyncio.to_thread(self._unpublish, record, gateway)
        return endpoints

    async def _dismantle(self, record: SandboxRecord, endpoints: Sequence[Endpoint]) -> None:
        """In the background, after a detach. A failure is logged, and the next `open` tries again."""
        if not record.owns_namespace:
            return
        try:
            await asyncio.to_thread(self._remove, record, endpoints)
        except (EngineError, OSError) as exc:
            _log.error("cannot remove the network of container %s: %s", record.container_id, exc)
            return  # the addresses stay taken: something may still answer there
        for endpoint in endpoints:
            self._release(endpoint)

    def _remove(self, record: SandboxRecord, endpoints: Sequence[Endpoint]) -> None:
        try:
            self._unplug_all(record, endpoints)
        finally:
            namespaces.remove(namespaces.path_of(self.directory, record.sandbox_id))

    def _release(self, endpoint: Endpoint) -> None:
        """Gives the addresses back, if the network is still there."""
        with contextlib.suppress(EngineError):
            self.fabric.named(endpoint.network).release(endpoint)

    # one network more or less

    async def connect(self, container_id: str, wish: EndpointWish) -> Endpoint:
        record = self._running(container_id)
        network = wishes.check(self.catalog, self.fabric, wish)
        if network.driver not in DEVICE_DRIVERS:
            raise Forbidden(_HOST if network.name == "host" else _LONELY)
        if self.members.at(container_id, network.name) is not None:
            name = self.container_name(container_id)
            raise Forbidden(f"endpoint with name {name} already exists in network {network.name}")
        async with contextlib.AsyncExitStack() as undo:
            siblings = self.members.of(container_id)
            endpoint = replace(
                self._endpoint(container_id, network, wish, siblings, undo), sandbox_id=record.sandbox_id
            )
            namespace = await asyncio.to_thread(namespaces.enter, self.directory, record.sandbox_id)
            with contextlib.closing(namespace):
                self.store.save(record, endpoint)
                undo.callback(self.store.delete, endpoint)
                before, before6 = self._gateways(siblings)
                after, after6 = self._gateways([*siblings, endpoint])
                segment = self._opened(network.name)
                gateways = segment.gateways(ipv4=after == endpoint, ipv6=after6 == endpoint)
                await asyncio.to_thread(segment.bridge.plug, namespace, endpoint, gateways=gateways)
                undo.push_async_callback(
                    asyncio.to_thread,
                    self._pull,
                    record,
                    endpoint,
                    (before if after != before else None, before6 if after6 != before6 else None),
                )
            undo.push_async_callback(self._serve_names, container_id)
            undo.callback(self.members.drop, endpoint)
            self.members.put(record, endpoint)
            await self._serve_names(container_id)
            await self._move_ports(record, siblings, [*siblings, endpoint])
            undo.pop_all()
        return endpoint

    async def disconnect(self, container_id: str, network: str) -> None:
        record = self._running(container_id)
        endpoint = self.members.at(container_id, network)
        if endpoint is None:
            raise Forbidden(f"container {container_id} is not connected to network {network}")
        all_before = self.members.of(container_id)
        before, before6 = self._gateways(all_before)
        self.store.delete(endpoint)
        self.members.drop(endpoint)
        after, after6 = self._gateways(self.members.of(container_id))
        await self._move_ports(record, all_before, self.members.of(container_id))
        await self._serve_names(container_id)
        new = (after if after != before else None, after6 if after6 != before6 else None)
        await asyncio.to_thread(self._pull, record, endpoint, new)
        self._release(endpoint)

    def _pull(
        self, record: SandboxRecord, endpoint: Endpoint, gateways: tuple[Endpoint | None, Endpoint | None]
    ) -> None:
        """In a worker thread: the device away (and its routes with it), then the new default routes.
        gateways: of IPv4 and IPv6, None for one that stays."""
        self.fabric.named(endpoint.network).bridge.unplug(endpoint, published=bool(record.ports))
        if gateways == (None, None):
            return
        namespace = namespaces.enter(self.directory, record.sandbox_id)
        with contextlib.closing(namespace):
            for gateway, six in zip(gateways, (False, True), strict=True):
                if gateway is not None:
                    addresses = self.fabric.named(gateway.network).gateways(ipv4=not six, ipv6=six)
                    set_default_routes(namespace.inside, gateways=addresses, device=gateway.device)

    async def _move_ports(
        self, record: SandboxRecord, endpoints_before: Sequence[Endpoint], endpoints_after: Sequence[Endpoint]
    ) -> None:
        """The published ports follow the default route. Members know the state after the change."""
        before, after = self._publisher(endpoints_before), self._publisher(endpoints_after)
        if before == after:
            return
        container_id = record.container_id
        if before is not None and record.ports:
            await asyncio.to_thread(self._unpublish, record, before)
        if after is None:
            self.ports.release(self.members.reservations.pop(container_id, []))
            record = replace(record, ports=())
        elif before is None and record.wanted:
            reservations = self._reserve(after, record.wanted)
            self.members.reservations[container_id] = reservations
            record = replace(record, ports=tuple(each.binding for each in reservations))
        self.store.save(record)
        self.members.put(record)
        self.serve_ports(container_id)
        if after is not None and record.ports:
            await asyncio.to_thread(self._publish, record, after)

    def _running(self, container_id: str) -> SandboxRecord:
        record = self.members.sandboxes.get(container_id)
        if record is None:
            raise Conflict(f"container {container_id} is not running")
        if record.mode.startswith(_JOIN) or record.host_namespace:
            raise Forbidden(_SHARED)
        if record.mode == "none":
            raise Forbidden(_LONELY)
        return record

    # restart

    def recall(self, found: Found) -> None:
        """Takes back what the living had before the restart."""
        for record in found.sandboxes:
            self.members.put(record)
            held = [self.ports.hold_again(binding) for binding in record.ports]
            self.members.reservations[record.container_id] = held
            for reservation in held:
                if reservation.holder is None:
                    _log.warning("another program listens on %s by now", reservation.binding)
        for endpoint in found.endpoints:
            self.members.put(self.members.sandboxes[endpoint.container_id], endpoint)
            if endpoint.address:
                self.fabric.named(endpoint.network).reserve(endpoint)

    # what rules cannot do for published ports

    def serve_ports(self, container_id: str) -> None:
        """On the event loop: passes on what arrives at the holders of its IPv6 ports. Idempotent."""
        for reservation in self.members.reservations.get(container_id, ()):
            binding = reservation.binding
            if reservation.holder is None or reservation.proxy is not None:
                continue
            if ":" in binding.host_ip and binding.protocol in ("tcp", "udp"):
                target = partial(self._target, container_id, binding.container_port)
                reservation.proxy = PortProxy(reservation.holder, target)
                reservation.proxy.start()

    def _target(self, container_id: str, port: int) -> tuple[str, int] | None:
        gateway = self.members.gateway(container_id)
        return (gateway.address6 or gateway.address, port) if gateway else None


_LONELY = "container cannot be connected to multiple networks with one of the networks in private (none) mode"
_HOST = "container cannot be disconnected from host network or connected to host network"
_SHARED = (
    "container sharing network namespace with another container or host cannot be connected to any other "
    "network"
)


def _record(joined: Joined, mode: str, sandbox_id: str, *, host_namespace: bool = False) -> SandboxRecord:
    return SandboxRecord(
        container_id=joined.container_id,
        sandbox_id=sandbox_id,
        mode=mode,
        hostname=joined.hostname,
        host_namespace=host_namespace,
        dns=joined.dns,
        serves_port_53=joined.serves_port_53,
        id_base=0 if host_namespace else joined.id_base,
    )


def _take(pool: AddressPool, wanted: str, undo: contextlib.AsyncExitStack) -> Address:
    """The address that was asked for, or the next one."""
    if wanted:
        address: Address = ipaddress.ip_address(wanted)
        pool.claim(address)
    else:
        address = pool.allocate()
    undo.callback(pool.give_back, address)
    return address


def _mac(wanted: str | None, address: Address) -> str:
    return wanted.lower().replace("-", ":") if wanted else mac_of(ipaddress.IPv4Address(address))
