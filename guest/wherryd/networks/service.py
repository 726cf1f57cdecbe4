"""Networks as the rest of the engine sees them: attach a container, detach it, list, inspect.

Life of a service: `open()`; then, once the caller knows which containers live, `adopt(ids)`; any number
of attach and detach; `close()`, which leaves the network of living containers working.

Who holds what: the namespace is held by a file (namespaces.py), the devices by the namespace, the rules
by the kernel, the host ports by sockets of this process, and all of it is on record (endpoint.py). So a
killed engine leaves working containers, and the next one finds everything again or removes it.
"""

import asyncio
import contextlib
import ipaddress
import logging
import secrets
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from wherryd.errors import Conflict, EngineError, InvalidParameter
from wherryd.metadata.database import Database
from wherryd.networks import namespaces, ports, recovery
from wherryd.networks.bridge import Bridge, new_veth_name, published_ports
from wherryd.networks.catalog import BridgeFacts, NetworkCatalog, document
from wherryd.networks.endpoint import Endpoint, EndpointStore
from wherryd.networks.ipam import AddressPool, mac_of
from wherryd.networks.links import pack_mac
from wherryd.networks.namespaces import Namespace, SandboxPool
from wherryd.networks.ports import PortTable, Reservation
from wherryd.networks.rules import PublishedPort
from wherryd.networks.sandbox import PortBinding, Sandbox
from wherryd.networks.views import network_container, sandbox_of

Publish = Callable[[str, str, str, Mapping[str, str]], None]

_log = logging.getLogger(__name__)
_JOIN = "container:"


class NetworkService:
    """The door of `networks`. One per bridge; several may live on one host. Of one event loop."""

    def __init__(
        self,
        *,
        database: Database,
        exec_root: Path,
        bridge: str,
        subnet: ipaddress.IPv4Interface,
        dns: Sequence[str],
        publish: Publish | None = None,
        container_name: Callable[[str], str] | None = None,
    ) -> None:
        """Remembers only; `open` acts. Raises InvalidParameter for an impossible bridge name or subnet.

        subnet: the bridge's own address with the prefix, as dockerd's --bip ("172.17.0.1/16").
        dns: the daemon's --dns. publish: called with (type, action, actor id, attributes) for the events
        "network connect" and "network disconnect". container_name: id -> name without "/", for inspect
        and messages; None means that the id stands for it.
        """
        if subnet.network.prefixlen > 29 or subnet.ip == subnet.network.network_address:
            raise InvalidParameter(
                f'--bip "{subnet}": want a host address in a network, such as 172.17.0.1/16'
            )
        self.dns = tuple(dns)
        self._directory = exec_root / "netns"
        self._catalog = NetworkCatalog(database)
        self._store = EndpointStore(database)
        self._bridge = Bridge(bridge, subnet)
        self._addresses = AddressPool(subnet)
        self._port_table = PortTable()
        self._pool = SandboxPool(self._directory)
        self._publish_event = publish
        self._container_name = container_name or (lambda container_id: container_id)
        self._endpoints: dict[str, Endpoint] = {}
        self._reservations: dict[str, Sequence[Reservation]] = {}
        # One change at a time: the kernel does them one at a time anyway (rtnl), and so does the rule set.
        self._lock = asyncio.Lock()
        self._background: set[asyncio.Task[None]] = set()
        self._opened = False

    async def open(self) -> None:
        """Makes the bridge, forwarding and rules; keeps every stored endpoint whose namespace lives.

        Idempotent. What a dead engine left and no endpoint explains is removed.
        """
        async with self._lock:
            if self._opened:
                return
            try:
                lost = await asyncio.to_thread(self._open)
            except BaseException:
                self._forget()
                raise
            self._opened = True
        for endpoint in lost:
            _log.warning("container %s lost its network while no engine ran", endpoint.container_id)
        self._pool.fill()

    async def adopt(self, living: Collection[str]) -> None:
        """Drops every endpoint whose container id is not in `living`. Call once after `open`."""
        for container_id in [known for known in self._endpoints if known not in living]:
            await self.detach(container_id)

    async def close(self) -> None:
        """Ends background work; what living containers use stays. May be called twice."""
        await self.settle()
        async with self._lock:
            await self._pool.close()
            self._forget()
            self._opened = False

    async def settle(self) -> None:
        """Returns when the removals that `detach` left to the background are done."""
        while self._background:
            await asyncio.wait(set(self._background))

    async def uninstall(self) -> None:
        """Detaches everybody and removes the bridge and its rules, then closes. For tests and purges."""
        for container_id in list(self._endpoints):
            await self.detach(container_id)
        await self.settle()
        async with self._lock:
            await asyncio.to_thread(self._bridge.uninstall)
        await self.close()

    async def attach(
        self,
        container_id: str,
        *,
        mode: str,
        hostname: str,
        ports: Mapping[str, Sequence[PortBinding]],
        mac: str | None = None,
    ) -> Sandbox:
        """A network namespace for the container, connected as `mode` says.

        mode: "default", "bridge", "none", "host", "container:<full id>". Ports are published in mode
        bridge only, as with Docker. Raises Conflict when the container is attached already, or, in
        Docker's wording, when a host port is taken; NotFound for an unknown network; InvalidParameter
        for a bad port or MAC. After an error, and after cancellation, nothing is left.
        """
        task = asyncio.ensure_future(self._attach(container_id, mode, hostname, ports, mac))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            # The kernel's part cannot be interrupted half-way: let it end, then take it back.
            await asyncio.wait([task])
            if not task.cancelled() and task.exception() is None:
                await self.detach(container_id)
            raise

    async def detach(self, container_id: str) -> None:
        """Takes the network away. Its host ports are free when this returns. Idempotent.

        The devices and the namespace go in the background (the kernel takes 20 to 50 ms for it); until
        then their address is not given to anybody else.
        """
        async with self._lock:
            endpoint = self._endpoints.pop(container_id, None)
            if endpoint is None:
                return
            reservations = self._reservations.pop(container_id, [])
            with contextlib.ExitStack() as steps:  # each is done also when one before it fails
                steps.callback(self._later, self._dismantle(endpoint))
                steps.callback(self._store.delete, endpoint)
                steps.callback(self._port_table.release, reservations)
                if endpoint.ports:
                    remaining = self._all_published()
                    await asyncio.to_thread(self._bridge.unpublish, published_ports(endpoint), remaining)
        self._tell("disconnect", endpoint)

    def sandbox(self, container_id: str) -> Sandbox | None:
        """What the container has now, or None."""
        endpoint = self._endpoints.get(container_id)
        return None if endpoint is None else self._sandbox(endpoint)

    def list(self) -> list[dict[str, Any]]:
        """Docker's Network objects, without Containers (GET /networks)."""
        return [document(network, self._facts(), {}) for network in self._catalog.all()]

    def inspect(self, name_or_id: str) -> dict[str, Any]:
        """Docker's Network object with Containers (GET /networks/{id}). Raises NotFound."""
        network = self._catalog.find(name_or_id)
        members = {
            endpoint.container_id: network_container(
                endpoint, self._container_name(endpoint.container_id), self._bridge.subnet
            )
            for endpoint in self._endpoints.values()
            if endpoint.network == network.name
        }
        return document(network, self._facts(), members)

    def in_use(self) -> frozenset[str]:
        """Names of the networks that have at least one container."""
        return frozenset(endpoint.network for endpoint in self._endpoints.values())

    # attach, step by step

    async def _attach(
        self,
        container_id: str,
        mode: str,
        hostname: str,
        wanted: Mapping[str, Sequence[PortBinding]],
        mac: str | None,
    ) -> Sandbox:
        if mac is not None:
            _check_mac(mac)
        async with self._lock:
            if container_id in self._endpoints:
                raise Conflict(f"container {container_id} is attached to a network already (hint: detach it)")
            endpoint = self._new_endpoint(container_id, mode or "default", hostname)
            if endpoint.mode == "bridge":
                endpoint = await self._attach_bridge(endpoint, ports.validate(wanted), mac)
            elif endpoint.mode == "none":
                endpoint = await self._attach_none(endpoint)
            else:
                self._store.save(endpoint)
            self._endpoints[container_id] = endpoint
        self._tell("connect", endpoint)
        return self._sandbox(endpoint)

    def _new_endpoint(self, container_id: str, mode: str, hostname: str) -> Endpoint:
        """What the mode says about an endpoint. Raises NotFound, and Conflict for a join of nobody."""
        if mode.startswith(_JOIN):
            target = self._endpoints.get(mode.removeprefix(_JOIN))
            if target is None:
                raise Conflict(
                    f"cannot join network of a non running container: {mode.removeprefix(_JOIN)} "
                    "(hint: start it first)"
                )
            # The namespace is fixed here, not looked up later: "none found" must never come to mean
            # "the engine's own".
            return Endpoint(
                container_id=container_id,
                sandbox_id=target.sandbox_id,
                mode=mode,
                network="",
                hostname=hostname,
                host_namespace=target.host_namespace,
            )
        network = self._catalog.find("bridge" if mode == "default" else mode)
        return Endpoint(
            container_id=container_id,
            sandbox_id=secrets.token_hex(32),
            mode=network.name,
            network=network.name,
            hostname=hostname,
            endpoint_id=secrets.token_hex(32),
            host_namespace=network.name == "host",
        )

    async def _attach_none(self, endpoint: Endpoint) -> Endpoint:
        namespace = await self._pool.take()
        try:
            endpoint = replace(endpoint, sandbox_id=namespace.sandbox_id)
            self._store.save(endpoint)
        except BaseException:
            namespaces.remove(namespace.path)
            raise
        finally:
            namespace.close()
        return endpoint

    async def _attach_bridge(
        self, endpoint: Endpoint, bindings: Sequence[PortBinding], mac: str | None
    ) -> Endpoint:
        """Ports first: a taken one is the usual failure, and nothing has to be undone in the kernel then."""
        async with contextlib.AsyncExitStack() as undo:
            reservations = self._reserve(endpoint, bindings)
            undo.callback(self._port_table.release, reservations)
            address = self._addresses.allocate()
            undo.callback(self._addresses.release, address)
            namespace = await self._pool.take()
            undo.callback(namespaces.remove, namespace.path)
            with contextlib.closing(namespace):
                endpoint = replace(
                    endpoint,
                    sandbox_id=namespace.sandbox_id,
                    address=str(address),
                    mac=mac.lower().replace("-", ":") if mac else mac_of(address),
                    veth=new_veth_name(),
                    ports=tuple(reservation.binding for reservation in reservations),
                )
                self._store.save(endpoint)
                undo.callback(self._store.delete, endpoint)
                others = self._all_published()
                await asyncio.to_thread(self._connect, namespace, endpoint, others)
            self._reservations[endpoint.container_id] = reservations
            undo.pop_all()
        return endpoint

    def _reserve(self, endpoint: Endpoint, bindings: Sequence[PortBinding]) -> Sequence[Reservation]:
        try:
            return self._port_table.reserve(bindings)
        except Conflict as error:
            name = self._container_name(endpoint.container_id)
            raise Conflict(
                f"driver failed programming external connectivity on endpoint {name} "
                f"({endpoint.endpoint_id}): {error}"
            ) from error

    def _connect(self, namespace: Namespace, endpoint: Endpoint, others: Sequence[PublishedPort]) -> None:
        """In a worker thread. Leaves nothing when it fails."""
        self._bridge.plug(namespace, endpoint)
        try:
            self._bridge.publish(published_ports(endpoint), others)
        except BaseException:
            self._bridge.unplug(endpoint)
            raise

    # detach and restart

    async def _dismantle(self, endpoint: Endpoint) -> None:
        """In the background, after a detach. A failure is logged, and the next `open` tries again."""
        if endpoint.mode not in ("bridge", "none"):
            return
        try:
            await asyncio.to_thread(self._remove, endpoint)
        except (EngineError, OSError):
            _log.exception("cannot remove the network of container %s", endpoint.container_id)
            return  # the address stays taken: something may still answer there
        if endpoint.address:
            self._addresses.release(ipaddress.IPv4Address(endpoint.address))

    def _remove(self, endpoint: Endpoint) -> None:
        try:
            if endpoint.veth:
                self._bridge.unplug(endpoint)
        finally:
            namespaces.remove(namespaces.path_of(self._directory, endpoint.sandbox_id))

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _open(self) -> Sequence[Endpoint]:
        """In a worker thread; the endpoints that were lost."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._bridge.open()
        living, lost = recovery.sort_out(self._store.all(), self._bridge, self._directory)
        for endpoint in living:
            self._recall(endpoint)
        for endpoint in lost:
            self._store.delete(endpoint)
        self._bridge.replace_rules(self._all_published())
        recovery.sweep(living, self._bridge, self._directory)
        return lost

    def _forget(self) -> None:
        """Gives up what this process holds, and nothing in the kernel."""
        for held in self._reservations.values():
            self._port_table.release(held)
        self._reservations.clear()
        self._endpoints.clear()
        self._addresses = AddressPool(self._bridge.subnet)
        self._bridge.close()

    def _recall(self, endpoint: Endpoint) -> None:
        """Takes back what an endpoint had before the restart."""
        self._endpoints[endpoint.container_id] = endpoint
        if endpoint.address:
            self._addresses.reserve(ipaddress.IPv4Address(endpoint.address))
        held = [self._port_table.hold_again(binding) for binding in endpoint.ports]
        self._reservations[endpoint.container_id] = held
        for reservation in held:
            if reservation.holder is None:
                _log.warning("another program listens on %s by now", reservation.binding)

    # what others see

    def _all_published(self) -> Sequence[PublishedPort]:
        return [port for endpoint in self._endpoints.values() for port in published_ports(endpoint)]

    def _facts(self) -> BridgeFacts:
        return BridgeFacts(self._bridge.name, self._bridge.subnet, self._bridge.mtu)

    def _sandbox(self, endpoint: Endpoint) -> Sandbox:
        network_id = self._catalog.named(endpoint.network).id if endpoint.network else ""
        return sandbox_of(endpoint, network_id, self._directory, self._bridge.subnet)

    def _tell(self, action: str, endpoint: Endpoint) -> None:
        if self._publish_event is not None and endpoint.network:
            network = self._catalog.named(endpoint.network)
            self._publish_event(
                "network",
                action,
                network.id,
                {"container": endpoint.container_id, "name": network.name, "type": network.driver},
            )


def _check_mac(mac: str) -> None:
    try:
        raw = pack_mac(mac)
    except ValueError as error:
        raise InvalidParameter(f"invalid MAC address: {mac} (hint: 02:42:ac:11:00:02)") from error
    if raw[0] & 1:
        raise InvalidParameter(f"invalid MAC address: {mac} is a group address (hint: 02:42:ac:11:00:02)")
