"""Networks as the rest of the engine sees them: attach and detach containers, connect and disconnect them
while they run, make and remove networks, list and inspect.

Life of a service: `open()`; then, once the caller knows which containers live, `adopt(ids)`; any number
of calls; `close()`, which leaves the network of living containers working (but nobody answers names).

Who holds what: the namespace is held by a file (namespaces.py), the devices by the namespace, the rules
by the kernel, the host ports and the resolvers' sockets by this process, and all of it is on record
(endpoint.py). So a killed engine leaves working containers, and the next one finds everything again or
removes it.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

from wherryd.errors import Conflict, EngineError, Forbidden, InvalidParameter
from wherryd.metadata.database import Database
from wherryd.networks import configs, namespaces, recovery, request, wishes
from wherryd.networks.attaching import Attacher, Joined
from wherryd.networks.catalog import Network, NetworkCatalog, document
from wherryd.networks.dns.resolvers import Resolvers
from wherryd.networks.endpoint import EndpointStore
from wherryd.networks.fabric import DefaultBridge, Fabric
from wherryd.networks.members import Members
from wherryd.networks.namespaces import SandboxPool
from wherryd.networks.naming import NameDefaults
from wherryd.networks.pools import Pool
from wherryd.networks.ports import PortTable
from wherryd.networks.sandbox import EndpointWish, PortBinding, Sandbox
from wherryd.networks.views import Subnets, attachment_of, network_container, sandbox_of

Publish = Callable[[str, str, str, Mapping[str, str]], None]

_log = logging.getLogger(__name__)


class NetworkService:
    """The door of `networks`. One per engine; several engines may live on one host. Of one event loop."""

    def __init__(
        self,
        *,
        database: Database,
        exec_root: Path,
        bridge: DefaultBridge,
        names: NameDefaults = NameDefaults(),  # noqa: B008 - frozen
        pools: Sequence[Pool] = (),
        publish: Publish | None = None,
        container_name: Callable[[str], str] | None = None,
        user_namespaces: bool = False,
    ) -> None:
        """Remembers only; `open` acts. Raises InvalidParameter for an impossible bridge name or subnet.

        names: what the engine's options say of names. pools: its --default-address-pool. publish: called
        with (type, action, actor id, attributes) for the events of networks. container_name: id -> name
        without "/", for inspect, messages and the resolver; None means that the id stands for it.
        user_namespaces: whether containers usually have one, so that what is kept ready has one too.
        """
        subnet = bridge.subnet
        if subnet.network.prefixlen > 29 or subnet.ip == subnet.network.network_address:
            raise InvalidParameter(
                f'--bip "{subnet}": want a host address in a network, such as 172.17.0.1/16'
            )
        self.names = names
        self._directory = exec_root / "netns"
        self._catalog = NetworkCatalog(database)
        self._fabric = Fabric(self._catalog, bridge, pools, directory=self._directory)
        self._store = EndpointStore(database)
        self._members = Members(self._fabric.is_internal)
        self._ports = PortTable()
        self._pool = SandboxPool(self._directory, with_owner=user_namespaces)
        self._publish_event = publish
        self._container_name = container_name or (lambda container_id: container_id)
        self._resolvers = Resolvers(
            members=self._members,
            fabric=self._fabric,
            directory=self._directory,
            container_name=self._container_name,
            names=names,
        )
        self._attacher = Attacher(
            catalog=self._catalog,
            fabric=self._fabric,
            store=self._store,
            members=self._members,
            ports=self._ports,
            pool=self._pool,
            resolvers=self._resolvers,
            directory=self._directory,
            container_name=self._container_name,
        )
        # One change at a time: the kernel does them one at a time anyway (rtnl), and so does the rule set.
        self._lock = asyncio.Lock()
        self._pruning = asyncio.Lock()
        self._background: set[asyncio.Task[None]] = set()
        self._opened = False

    async def open(self) -> None:
        """Makes bridges, forwarding and rules; keeps every stored endpoint whose namespace lives.

        Idempotent. What a dead engine left and no endpoint explains is removed.
        """
        async with self._lock:
            if self._opened:
                return
            try:
                lost = await asyncio.to_thread(self._open)
                for container_id in self._members.sandboxes:
                    self._attacher.serve_ports(container_id)
                await self._resolvers.reopen()
            except BaseException:
                self._forget()
                raise
            self._opened = True
        for container_id in lost:
            _log.warning("container %s lost its network while no engine ran", container_id)
        self._pool.fill()

    async def adopt(self, living: Collection[str]) -> None:
        """Drops everything of containers whose id is not in `living`. Call once after `open`."""
        for container_id in [known for known in self._members.sandboxes if known not in living]:
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
        """Detaches everybody and removes bridges and rules, then closes. For tests and purges."""
        for container_id in list(self._members.sandboxes):
            await self.detach(container_id)
        await self.settle()
        async with self._lock:
            await asyncio.to_thread(self._fabric.uninstall)
        await self.close()

    # containers

    async def attach(
        self,
        container_id: str,
        *,
        mode: str,
        hostname: str,
        ports: Mapping[str, Sequence[PortBinding]],
        mac: str | None = None,
        endpoints: Sequence[EndpointWish] = (),
        dns: Sequence[str] = (),
        serves_port_53: bool = False,
        id_base: int = 0,
        user_namespace: str = "",
    ) -> Sandbox:
        """A network namespace for the container, connected as `mode` and `endpoints` say.

        mode: "default", "bridge", "none", "host", "container:<full id>", or a network's name or id.
        endpoints: every network to join, for bridges; empty means the one that mode names, with `mac`.
        dns: the user's servers, for the resolver. serves_port_53: the container wants port 53 for itself, so
        the resolver must leave it free. id_base: the namespace belongs to a user namespace of these ids, not
        to the engine's (spec/idrange.py): a new one, or the one at the path user_namespace; with
        "container:<id>" both are the other's. Ports are published by the network with the default route.
        Raises Conflict when the container is attached already, or, in Docker's wording, when a host port is
        taken; NotFound for an unknown network; InvalidParameter and Forbidden for an address that cannot be
        had. After an error, and after cancellation, nothing is left.
        """
        joined = Joined(
            container_id, mode or "default", hostname, tuple(dns), serves_port_53, id_base, user_namespace
        )
        wanted = tuple(endpoints) or (EndpointWish(network="bridge" if mode == "default" else mode, mac=mac),)
        task = asyncio.ensure_future(self._attach(joined, wanted, ports))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            # The kernel's part cannot be interrupted half-way: let it end, then take it back.
            await asyncio.wait([task])
            if not task.cancelled() and task.exception() is None:
                await self.detach(container_id)
            raise

    async def _attach(
        self,
        joined: Joined,
        wanted: Sequence[EndpointWish],
        ports: Mapping[str, Sequence[PortBinding]],
    ) -> Sandbox:
        async with self._lock:
            await self._attacher.attach(joined, wanted, ports)
            endpoints = self._members.of(joined.container_id)
        for endpoint in endpoints:
            self._tell("connect", endpoint.network, endpoint.container_id)
        return self._known(joined.container_id)

    async def detach(self, container_id: str) -> None:
        """Takes the network away. Its host ports are free when this returns. Idempotent.

        The devices and the namespace go in the background (the kernel takes 20 to 50 ms for it); until
        then their addresses are not given to anybody else.
        """
        async with self._lock:
            endpoints = await self._attacher.detach(container_id, self._later)
        for endpoint in endpoints:
            self._tell("disconnect", endpoint.network, container_id)

    async def connect(self, container_id: str, wish: EndpointWish) -> Sandbox:
        """One more network for an attached container. Raises as `attach`; Forbidden when it is on it."""
        async with self._lock:
            endpoint = await self._attacher.connect(container_id, wish)
        self._tell("connect", endpoint.network, container_id)
        return self._known(container_id)

    async def disconnect(self, container_id: str, network: str) -> Sandbox:
        """One network less, by name. Raises Forbidden when it is not connected to it."""
        async with self._lock:
            await self._attacher.disconnect(container_id, network)
        self._tell("disconnect", network, container_id)
        return self._known(container_id)

    def renamed(self, container_id: str) -> Sandbox | None:
        """Call when a container has another name; what it has now, or None."""
        self._members.renamed()
        return self.sandbox(container_id)

    def sandbox(self, container_id: str) -> Sandbox | None:
        """What the container has now, or None."""
        record = self._members.sandboxes.get(container_id)
        if record is None:
            return None
        gateway = self._members.gateway(container_id)
        ordered = sorted(self._members.of(container_id), key=lambda endpoint: endpoint is not gateway)
        name = self._container_name(container_id)
        attachments = tuple(
            attachment_of(
                endpoint,
                record,
                self._catalog.named(endpoint.network),
                self._subnets(endpoint.network),
                name,
            )
            for endpoint in ordered
        )
        return sandbox_of(record, attachments, self._directory, resolver=self._resolvers.serves(container_id))

    def _known(self, container_id: str) -> Sandbox:
        sandbox = self.sandbox(container_id)
        if sandbox is None:
            raise Conflict(f"container {container_id} was detached from its networks meanwhile")
        return sandbox

    # networks

    async def create(self, body: Mapping[str, Any]) -> tuple[str, str]:
        """POST /networks/create: (id, warning). Raises InvalidParameter, Forbidden, Conflict, ..."""
        wish = request.parse(configs.completed(body, self._catalog.find))
        async with self._lock:
            self._catalog.check_free(wish.name)
            if wish.config is not None:
                network = self._catalog.add(wish.name, secrets.token_hex(32), configs.settings(wish))
                self._tell_of("create", network)
                return network.id, ""
            settings = await asyncio.to_thread(self._fabric.plan, wish)
            # On record first: what a kill leaves in the kernel is then the next engine's to finish.
            network = self._catalog.add(wish.name, secrets.token_hex(32), settings)
            try:
                await asyncio.to_thread(self._fabric.add, network, settings)
            except BaseException:
                self._catalog.delete(network)
                raise
        self._tell_of("create", network)
        return network.id, ""

    async def remove(self, name_or_id: str) -> None:
        """Raises NotFound, and Forbidden for a predefined network or one that containers use."""
        async with self._lock:
            network = self._catalog.find(name_or_id)
            if not network.user_defined:
                raise Forbidden(f"{network.name} is a pre-defined network and cannot be removed")
            endpoints = self._members.on(network.name)
            if endpoints:
                users = ", ".join(
                    f'name:"{self._container_name(each.container_id)}" id:"{each.container_id[:12]}"'
                    for each in endpoints
                )
                raise Forbidden(
                    f"error while removing network: network {network.name} has active endpoints ({users})"
                )
            if self._dependents(network):
                raise Forbidden(f'configuration network "{network.name}" is in use')
            await self._remove(network)

    def _dependents(self, network: Network) -> Sequence[Network]:
        """The networks that have their configuration from this one."""
        return [
            each
            for each in self._catalog.all()
            if each.settings and each.settings.config_from == network.name
        ]

    async def _remove(self, network: Network) -> None:
        if not network.config_only:
            await asyncio.to_thread(self._fabric.remove, network)
        self._catalog.delete(network)
        self._tell_of("destroy", network)

    async def prune(self, chosen: Callable[[dict[str, Any]], bool]) -> list[str]:
        """Removes users' networks without containers that `chosen` takes, of Network objects; their names.

        Raises Conflict while another one is at it.
        """
        if self._pruning.locked():
            raise Conflict("a prune operation is already running")
        removed = []
        async with self._pruning, self._lock:
            for network in self._catalog.all():
                if not network.user_defined or self._members.on(network.name) or self._dependents(network):
                    continue
                if chosen(document(network, self._fabric.facts, {})):
                    await self._remove(network)
                    removed.append(network.name)
        self._publish("prune", "", {"reclaimed": "0"})
        return removed

    def list(self) -> list[dict[str, Any]]:
        """Docker's Network objects, without Containers (GET /networks)."""
        return [document(network, self._fabric.facts, {}) for network in self._catalog.all()]

    def inspect(self, name_or_id: str) -> dict[str, Any]:
        """Docker's Network object with Containers (GET /networks/{id}). Raises NotFound."""
        network = self._catalog.find(name_or_id)
        members = {
            endpoint.container_id: network_container(
                endpoint, self._container_name(endpoint.container_id), self._subnets(network.name)
            )
            for endpoint in self._members.on(network.name)
        }
        return document(network, self._fabric.facts, members)

    def find(self, name_or_id: str) -> Network:
        """Raises NotFound, InvalidParameter for an ambiguous beginning of an id."""
        return self._catalog.find(name_or_id)

    def check_wish(self, wish: EndpointWish) -> Network:
        """The network; raises what can be told to be wrong with a wish before the start."""
        return wishes.check(self._catalog, self._fabric, wish)

    def in_use(self) -> frozenset[str]:
        """Names of the networks that have at least one container."""
        return frozenset(endpoint.network for endpoint in self._members.everybody())

    # below

    def _open(self) -> Sequence[str]:
        """In a worker thread; ids of containers whose network was lost."""
        for folder in (self._directory, namespaces.owners(self._directory)):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._fabric.open()
        found = recovery.sort_out(
            self._store.sandboxes(), self._store.endpoints(), self._fabric, self._directory
        )
        for container_id in found.lost:
            self._store.delete_all(container_id)
        for endpoint in found.lost_endpoints:
            _log.warning("container %s lost network %s", endpoint.container_id, endpoint.network)
            self._store.delete(endpoint)
        self._attacher.recall(found)
        for segment in self._fabric:
            if segment.bridge.is_open:
                segment.bridge.replace_rules(self._members.published_on(segment.network.name))
        recovery.sweep(found, self._fabric, self._directory)
        return found.lost

    def _forget(self) -> None:
        """Gives up what this process holds, and nothing in the kernel."""
        self._resolvers.close()
        for held in self._members.reservations.values():
            self._ports.release(held)
        self._members.clear()
        self._fabric.close()

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _subnets(self, network: str) -> Subnets:
        if self._catalog.named(network).driver in ("host", "null"):
            return None, None
        bridge = self._fabric.named(network).bridge
        return bridge.subnet, bridge.subnet6

    def _tell(self, action: str, network: str, container_id: str) -> None:
        with contextlib.suppress(EngineError):  # the network was removed meanwhile
            found = self._catalog.named(network)
            attributes = {"container": container_id, "name": found.name, "type": found.driver}
            self._publish(action, found.id, attributes)

    def _tell_of(self, action: str, network: Network) -> None:
        self._publish(action, network.id, {"name": network.name, "type": network.driver})

    def _publish(self, action: str, network_id: str, attributes: Mapping[str, str]) -> None:
        if self._publish_event is not None:
            self._publish_event("network", action, network_id, attributes)
