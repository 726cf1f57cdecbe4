"""/networks: list, inspect, make, remove and prune networks, connect containers. Engine API, "Network"."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

from wherryd import clock
from wherryd.api import gates, history, params
from wherryd.api.app import require
from wherryd.containers import kinds
from wherryd.errors import InvalidParameter, NotFound
from wherryd.http import web
from wherryd.networks.service import NetworkService

_LIST_FILTERS = frozenset({"dangling", "driver", "id", "label", "name", "scope", "type"})
_PRUNE_FILTERS = frozenset({"label", "label!", "until"})
_TRUE, _FALSE = frozenset({"1", "true"}), frozenset({"0", "false"})


class Connector(Protocol):
    """What connects containers: containers.service.ContainerService."""

    async def connect(self, network: str, reference: str, settings: Any) -> None: ...

    async def disconnect(self, network: str, reference: str) -> None: ...


def routes(service: NetworkService, connector: Connector) -> list[web.RouteDef]:
    """Unversioned routes; `build_app` adds the versions."""
    handlers = _Handlers(service, connector)
    return [
        web.get("/networks", handlers.list),
        # Some clients send the trailing slash; dockerd lists then, too.
        web.get("/networks/", handlers.list),
        web.post("/networks/create", handlers.create),
        web.post("/networks/prune", handlers.prune),
        web.get("/networks/{id}", handlers.inspect),
        web.delete("/networks/{id}", handlers.remove),
        web.post("/networks/{id}/connect", handlers.connect),
        web.post("/networks/{id}/disconnect", handlers.disconnect),
    ]


class _Handlers:
    def __init__(self, service: NetworkService, connector: Connector) -> None:
        self._service = service
        self._connector = connector

    async def list(self, request: web.Request) -> web.Response:
        """GET /networks"""
        wanted = params.filters(request.query, _LIST_FILTERS)
        version = request["api_version"]
        found = select(self._service.list(), wanted, self._service.in_use())
        if version < history.NETWORKS_WITHOUT_CONTAINERS:
            found = [self._service.inspect(network["Id"]) for network in found]
        return web.json_response([gates.fit(network, history.NETWORK, version) for network in found])

    async def inspect(self, request: web.Request) -> web.Response:
        """GET /networks/{id}; scope narrows, verbose adds nothing outside of a swarm."""
        network = self._service.inspect(require(request, "id"))
        scope = request.query.get("scope", "")
        if scope and scope != network["Scope"]:
            raise NotFound(f"network {require(request, 'id')} not found in scope {scope}")
        return web.json_response(gates.fit(network, history.NETWORK, request["api_version"]))

    async def create(self, request: web.Request) -> web.Response:
        """POST /networks/create"""
        body = gates.fit(await params.json_object(request), history.NETWORK_CREATE, request["api_version"])
        network_id, warning = await self._service.create(body)
        return web.json_response({"Id": network_id, "Warning": warning}, status=201)

    async def connect(self, request: web.Request) -> web.Response:
        """POST /networks/{id}/connect"""
        network = self._service.find(require(request, "id"))
        body = gates.fit(await params.json_object(request), history.CONNECT, request["api_version"])
        settings = body.get("EndpointConfig")
        await self._connector.connect(network.id, _container(body), settings)
        return web.Response(status=200)

    async def disconnect(self, request: web.Request) -> web.Response:
        """POST /networks/{id}/disconnect; Force makes no difference: nobody is asked for consent."""
        body = await params.json_object(request)
        kinds.flag(body.get("Force") or False, "Force")
        await self._connector.disconnect(require(request, "id"), _container(body))
        return web.Response(status=200)

    async def remove(self, request: web.Request) -> web.Response:
        """DELETE /networks/{id}"""
        await self._service.remove(require(request, "id"))
        return web.Response(status=204)

    async def prune(self, request: web.Request) -> web.Response:
        """POST /networks/prune: networks of users without running containers."""
        wanted = params.filters(request.query, _PRUNE_FILTERS)
        until = _until(wanted)

        def chosen(network: dict[str, Any]) -> bool:
            return (
                (until is None or clock.to_nanoseconds(network["Created"]) <= until)
                and all(_has_label(network, label) for label in wanted.get("label", []))
                and not any(_has_label(network, label) for label in wanted.get("label!", []))
            )

        return web.json_response({"NetworksDeleted": await self._service.prune(chosen) or None})


def _container(body: Mapping[str, Any]) -> str:
    name = kinds.string(body.get("Container") or "", "Container")
    if not name:
        raise InvalidParameter("Container: must be given (hint: its name or id)")
    return name


def _until(filters: Mapping[str, list[str]]) -> int | None:
    """The moment in the `until` filter, in nanoseconds since 1970."""
    values = filters.get("until", [])
    if len(values) > 1:
        raise InvalidParameter("more than one until filter specified")
    return clock.parse_until(values[0]) if values else None


def select(
    networks: Collection[dict[str, Any]], wanted: Mapping[str, list[str]], in_use: Collection[str]
) -> list[dict[str, Any]]:
    """Networks that pass every filter; of one filter's values any will do, of labels all must.

    in_use: names of networks with containers, for `dangling`. Raises InvalidParameter for a bad value.
    """
    tests: dict[str, Callable[[dict[str, Any], str], bool]] = {
        "driver": lambda network, value: network["Driver"] == value,
        "id": lambda network, value: _matches(value, network["Id"]),
        "name": lambda network, value: _matches(value, network["Name"]),
        "scope": lambda network, value: network["Scope"] == value,
        "type": lambda network, value: _is_builtin(network) == (value == "builtin"),
        "dangling": lambda network, value: _dangling(network, in_use) == (value.lower() in _TRUE),
    }
    _check_values(wanted)
    found = []
    for network in networks:
        passes = all(
            any(tests[key](network, value) for value in values)
            for key, values in wanted.items()
            if values and key != "label"
        )
        if passes and all(_has_label(network, label) for label in wanted.get("label", [])):
            found.append(network)
    return found


def _check_values(wanted: Mapping[str, list[str]]) -> None:
    for value in wanted.get("type", []):
        if value not in ("builtin", "custom"):
            raise InvalidParameter(f"invalid filter: 'type'='{value}' (hint: builtin or custom)")
    for value in wanted.get("scope", []):
        if value not in ("local", "global", "swarm"):
            raise InvalidParameter(f"invalid filter: 'scope'='{value}' (hint: local, global or swarm)")
    if len(wanted.get("dangling", [])) > 1:
        raise InvalidParameter('got more than one value for filter key "dangling"')
    for value in wanted.get("dangling", []):
        if value.lower() not in _TRUE | _FALSE:
            raise InvalidParameter(f"invalid filter: 'dangling'='{value}' (hint: true or false)")


def _matches(wanted: str, text: str) -> bool:
    """Anywhere in the text, or at its ends with "^" and "$". dockerd takes a whole regular expression here;
    Python's could be made to run for ever, and clients use no more than the two anchors."""
    core = wanted.removeprefix("^").removesuffix("$")
    if wanted.startswith("^") and wanted.endswith("$"):
        return text == core
    if wanted.startswith("^"):
        return text.startswith(core)
    return text.endswith(core) if wanted.endswith("$") else core in text


def _is_builtin(network: Mapping[str, Any]) -> bool:
    return network["Name"] in ("bridge", "host", "none")


def _dangling(network: Mapping[str, Any], in_use: Collection[str]) -> bool:
    """As dockerd: a predefined network is never dangling."""
    return not _is_builtin(network) and network["Name"] not in in_use


def _has_label(network: Mapping[str, Any], wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    labels: Mapping[str, str] = network["Labels"]
    return key in labels and (not equals or labels[key] == value)
