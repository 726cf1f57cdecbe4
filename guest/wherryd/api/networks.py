"""/networks: what is there, and a plain refusal for what does not work yet. Engine API, "Network"."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, NoReturn

from aiohttp import web

from wherryd.api import params
from wherryd.api.app import require
from wherryd.errors import Conflict, Forbidden, InvalidParameter, NotFound, NotSupported
from wherryd.networks.service import NetworkService

_LIST_FILTERS = frozenset({"dangling", "driver", "id", "label", "name", "scope", "type"})
_PRUNE_FILTERS = frozenset({"label", "label!", "until"})
_LIST_WITHOUT_CONTAINERS_SINCE = (1, 28)
_ENABLE_IPV4_SINCE = (1, 47)
_TRUE, _FALSE = frozenset({"1", "true"}), frozenset({"0", "false"})


def routes(service: NetworkService) -> list[web.RouteDef]:
    """Unversioned routes; `build_app` adds the versions."""
    handlers = _Handlers(service)
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
    def __init__(self, service: NetworkService) -> None:
        self._service = service

    async def list(self, request: web.Request) -> web.Response:
        """GET /networks"""
        wanted = params.filters(request.query, _LIST_FILTERS)
        version = request["api_version"]
        found = select(self._service.list(), wanted, self._service.in_use())
        if version < _LIST_WITHOUT_CONTAINERS_SINCE:
            found = [self._service.inspect(network["Id"]) for network in found]
        return web.json_response([for_version(network, version) for network in found])

    async def inspect(self, request: web.Request) -> web.Response:
        """GET /networks/{id}; scope narrows, verbose adds nothing outside of a swarm."""
        network = self._service.inspect(require(request, "id"))
        scope = request.query.get("scope", "")
        if scope and scope != network["Scope"]:
            raise NotFound(f"network {require(request, 'id')} not found in scope {scope}")
        return web.json_response(for_version(network, request["api_version"]))

    async def create(self, request: web.Request) -> NoReturn:
        """POST /networks/create"""
        body = await params.json_object(request)
        name = body.get("Name")
        if not isinstance(name, str) or not name.strip():
            raise InvalidParameter("invalid network name: name is empty")
        if name in ("default", "container"):
            raise Forbidden(f"operation is not permitted on predefined {name} network")
        if any(network["Name"] == name for network in self._service.list()):
            if name in ("bridge", "host", "none"):
                raise Forbidden(f"operation is not permitted on predefined {name} network")
            raise Conflict(f"network with name {name} already exists")
        raise NotSupported(
            "this engine cannot create networks yet: containers share the network bridge, "
            "or use host, none or container:NAME"
        )

    async def connect(self, request: web.Request) -> NoReturn:
        """POST /networks/{id}/connect"""
        network = self._service.inspect(require(request, "id"))
        await params.json_object(request)
        raise NotSupported(
            f"this engine cannot connect a container to a second network yet ({network['Name']}): "
            "choose its network with docker run --network"
        )

    async def disconnect(self, request: web.Request) -> NoReturn:
        """POST /networks/{id}/disconnect"""
        network = self._service.inspect(require(request, "id"))
        await params.json_object(request)
        raise NotSupported(
            f"this engine cannot disconnect a container from a network yet ({network['Name']}): "
            "stop the container, or run it with --network none"
        )

    async def remove(self, request: web.Request) -> NoReturn:
        """DELETE /networks/{id}: all there is, is predefined."""
        network = self._service.inspect(require(request, "id"))
        raise Forbidden(f"{network['Name']} is a pre-defined network and cannot be removed")

    async def prune(self, request: web.Request) -> web.Response:
        """POST /networks/prune: predefined networks are never pruned, and there are no others."""
        params.filters(request.query, _PRUNE_FILTERS)
        return web.json_response({"NetworksDeleted": None})


def for_version(network: Mapping[str, Any], api_version: tuple[int, int]) -> dict[str, Any]:
    """The document without what the request's API version does not know."""
    found = dict(network)
    if api_version < _ENABLE_IPV4_SINCE:
        del found["EnableIPv4"]
    return found


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
