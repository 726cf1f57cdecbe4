"""/networks over HTTP: the real routes and the real service, which needs no kernel to describe networks."""

import contextlib
import ipaddress
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from api_server import serving

from wherryd.api import networks as api
from wherryd.api.app import build_app
from wherryd.errors import InvalidParameter
from wherryd.metadata.database import Database
from wherryd.networks.fabric import DefaultBridge
from wherryd.networks.service import NetworkService


class RecordingConnector:
    """Stands for the containers: keeps what it was asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    async def connect(self, network: str, reference: str, settings: Any) -> None:
        self.calls.append((network, reference, settings))

    async def disconnect(self, network: str, reference: str) -> None:
        self.calls.append((network, reference))


@pytest.fixture
def connector() -> RecordingConnector:
    return RecordingConnector()


@pytest.fixture
async def client(tmp_path: Path, connector: RecordingConnector) -> AsyncIterator[aiohttp.ClientSession]:
    with contextlib.closing(Database(tmp_path / "wherry.db")) as database:
        service = NetworkService(
            database=database,
            exec_root=tmp_path,
            bridge=DefaultBridge(device="wherry0", subnet=ipaddress.IPv4Interface("172.17.0.1/16")),
        )
        app = build_app([api.routes(service, connector)])
        async with serving(app) as made:
            yield made


async def names(client: aiohttp.ClientSession, filters: dict[str, list[str]]) -> list[str]:
    answer = await client.get("/networks", params={"filters": json.dumps(filters)})
    assert answer.status == 200
    return [network["Name"] for network in await answer.json()]


async def message(answer: Any) -> str:
    return str((await answer.json())["message"])


async def test_the_three_predefined_networks_are_listed_with_and_without_version(
    client: aiohttp.ClientSession,
) -> None:
    for path in ("/networks", "/networks/", "/v1.51/networks", "/v1.24/networks"):
        answer = await client.get(path)
        assert [network["Name"] for network in await answer.json()] == ["bridge", "host", "none"]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"driver": ["bridge"]}, ["bridge"]),
        ({"driver": ["bridge", "null"]}, ["bridge", "none"]),
        ({"name": ["o"]}, ["host", "none"]),
        ({"name": ["^no"]}, ["none"]),
        ({"name": ["^host$"]}, ["host"]),
        ({"name": ["e$"]}, ["bridge", "none"]),
        ({"name": ["o"], "driver": ["null"]}, ["none"]),
        ({"type": ["custom"]}, []),
        ({"type": ["builtin"]}, ["bridge", "host", "none"]),
        ({"scope": ["swarm"]}, []),
        ({"dangling": ["true"]}, []),
        ({"dangling": ["0"]}, ["bridge", "host", "none"]),
        ({"label": ["a=b"]}, []),
    ],
)
async def test_filters_choose(
    client: aiohttp.ClientSession, filters: dict[str, list[str]], expected: list[str]
) -> None:
    assert await names(client, filters) == expected


@pytest.mark.parametrize(
    "filters",
    [{"type": ["odd"]}, {"scope": ["odd"]}, {"dangling": ["odd"]}, {"dangling": ["0", "1"]}, {"odd": ["x"]}],
)
async def test_a_bad_filter_is_a_bad_request(
    client: aiohttp.ClientSession, filters: dict[str, list[str]]
) -> None:
    answer = await client.get("/networks", params={"filters": json.dumps(filters)})
    assert answer.status == 400


async def test_a_network_is_inspected_by_name_id_and_short_id(client: aiohttp.ClientSession) -> None:
    bridge = await (await client.get("/networks/bridge")).json()
    for key in (bridge["Id"], bridge["Id"][:32]):
        assert await (await client.get(f"/networks/{key}")).json() == bridge
    assert bridge["Options"]["com.docker.network.bridge.name"] == "wherry0"


async def test_enable_ipv4_is_unknown_to_old_versions(client: aiohttp.ClientSession) -> None:
    new = await (await client.get("/v1.51/networks/bridge")).json()
    old = await (await client.get("/v1.46/networks/bridge")).json()
    assert new.keys() - old.keys() == {"EnableIPv4"}


@pytest.mark.parametrize("path", ["/networks/no-such", "/networks/bridge?scope=swarm"])
async def test_what_is_not_there_is_not_found(client: aiohttp.ClientSession, path: str) -> None:
    answer = await client.get(path)
    assert answer.status == 404
    assert "not found" in await message(answer)


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"Driver": "macvlan", "Options": {"macvlan_mode": "flat"}}, 400, 'unknown macvlan_mode "flat"'),
        ({"Driver": "ipvlan", "Options": {"ipvlan_flag": "x"}}, 400, 'unknown ipvlan_flag "x"'),
        ({"Driver": "macvlan", "Options": {"parent": "eth0.4095"}}, 400, "a VLAN's id is 1 to 4094"),
        ({"Driver": "weave"}, 404, 'plugin "weave" not found'),
        ({"Driver": "host"}, 403, 'only one instance of "host" network is allowed'),
        ({"Driver": "overlay"}, 503, "This node is not a swarm manager"),
        ({"Scope": "swarm"}, 403, "swarm is not active"),
        ({"EnableIPv6": "yes"}, 400, "EnableIPv6: wants true or false"),
        ({"EnableIPv4": False}, 501, "IPv4"),
        ({"ConfigOnly": True, "Internal": True}, 403, "can only contain network specific fields"),
        ({"ConfigOnly": True, "ConfigFrom": {"Network": "x"}}, 403, "cannot depend on another"),
        ({"ConfigOnly": True, "IPAM": {"Config": [{"Subnet": "x"}]}}, 400, "invalid subnet x"),
        ({"ConfigFrom": {"Network": "nobody"}}, 404, "network nobody not found"),
        ({"ConfigFrom": {"Network": "host"}}, 403, "host is not a configuration network"),
        ({"ConfigFrom": {"Network": "x"}, "EnableIPv6": True}, 403, "user specified configurations"),
        ({"ConfigFrom": {"Network": "x"}, "Options": {"a": "b"}}, 403, "network driver options are not"),
        ({"ConfigFrom": "x"}, 400, "ConfigFrom: wants an object"),
        ({"IPAM": {"Driver": "other"}}, 404, "could not find plugin other"),
        ({"EnableIPv6": False, "IPAM": {"Config": [{"Subnet": "fd00::/64"}]}}, 400, "IPv6 is not enabled"),
        (
            {"EnableIPv6": True, "IPAM": {"Config": [{"Subnet": "fd00::/64"}, {"Subnet": "fd01::/64"}]}},
            400,
            "bridge driver doesn't support multiple subnets",
        ),
        (
            {"EnableIPv6": True, "IPAM": {"Config": [{"Subnet": "fd00::/64", "Gateway": "fd01::1"}]}},
            400,
            "invalid gateway fd01::1: parent subnet fd00::/64 doesn't contain this address",
        ),
        ({"EnableIPv6": True, "IPAM": {"Config": [{"Subnet": "fe80::/64"}]}}, 400, "link-local"),
        ({"IPAM": {"Config": [{"Subnet": "x"}]}}, 400, "invalid subnet x: invalid CIDR block notation"),
        ({"IPAM": {"Config": [{"Subnet": "10.9.0.1/24"}]}}, 400, "it should be 10.9.0.0/24"),
        ({"IPAM": {"Config": [{"Gateway": "10.9.0.1"}]}}, 400, "invalid subnet"),
        (
            {"IPAM": {"Config": [{"Subnet": "10.9.0.0/24", "Gateway": "10.8.0.1"}]}},
            400,
            "invalid gateway 10.8.0.1: parent subnet 10.9.0.0/24 doesn't contain this address",
        ),
        (
            {"IPAM": {"Config": [{"Subnet": "10.9.0.0/24", "IPRange": "10.8.0.0/25"}]}},
            400,
            "parent subnet 10.9.0.0/24 doesn't contain ip-range",
        ),
        (
            {"IPAM": {"Config": [{"Subnet": "10.9.0.0/24"}, {"Subnet": "10.8.0.0/24"}]}},
            400,
            "bridge driver doesn't support multiple subnets",
        ),
        (
            {"Options": {"com.docker.network.driver.mtu": "1"}},
            400,
            "failed to parse com.docker.network.driver.mtu value: 1",
        ),
        ({"Options": {"com.docker.network.bridge.enable_icc": "perhaps"}}, 400, "failed to parse"),
        ({"Options": {"com.docker.network.bridge.name": "a/b"}}, 400, "want up to 15 letters"),
        ({"Options": {"com.docker.network.bridge.inhibit_ipv4": "true"}}, 501, "is not available"),
        ({"Labels": {"a": 1}}, 400, "Labels.a: wants a string"),
    ],
)
async def test_what_a_network_cannot_be_is_refused_by_name(
    client: aiohttp.ClientSession, body: dict[str, Any], status: int, words: str
) -> None:
    answer = await client.post("/networks/create", json={"Name": "mine", **body})
    assert (answer.status, words in await message(answer)) == (status, True)


async def test_all_problems_of_a_subnet_are_told_at_once(client: aiohttp.ClientSession) -> None:
    config = {"Subnet": "10.9.0.1/24", "Gateway": "10.8.0.1", "IPRange": "10.7.0.0/24"}
    answer = await client.post("/networks/create", json={"Name": "mine", "IPAM": {"Config": [config]}})
    lines = (await message(answer)).splitlines()
    assert lines[0] == "invalid network config:"
    assert [line.split()[1] for line in lines[1:]] == ["subnet", "ip-range", "gateway"]


@pytest.mark.parametrize(("name", "status"), [("", 400), ("bridge", 403), ("default", 403)])
async def test_creating_checks_the_name_first(client: aiohttp.ClientSession, name: str, status: int) -> None:
    assert (await client.post("/networks/create", json={"Name": name})).status == status


async def test_a_configuration_network_is_shown_as_it_was_given(client: aiohttp.ClientSession) -> None:
    ipam = {"Config": [{"Subnet": "10.9.0.0/24", "IPRange": "10.9.0.128/25"}], "Options": None}
    body = {"Name": "conf", "ConfigOnly": True, "IPAM": ipam, "Labels": {"a": "b"}, "Driver": "bridge"}
    assert (await client.post("/networks/create", json=body)).status == 201
    shown = await (await client.get("/networks/conf")).json()
    assert (shown["ConfigOnly"], shown["Driver"], shown["Labels"]) == (True, "null", {"a": "b"})
    assert shown["IPAM"]["Config"] == ipam["Config"]
    assert await names(client, {"driver": ["null"]}) == ["conf", "none"]
    pruned = await client.post("/networks/prune")
    assert await pruned.json() == {"NetworksDeleted": ["conf"]}


async def test_connecting_hands_the_request_to_the_containers(
    client: aiohttp.ClientSession, connector: RecordingConnector
) -> None:
    settings = {"Aliases": ["db"]}
    body = {"Container": "web", "EndpointConfig": settings}
    assert (await client.post("/networks/bridge/connect", json=body)).status == 200
    assert (await client.post("/networks/bridge/disconnect", json=body)).status == 200
    (connected, disconnected) = connector.calls
    assert connected[1:] == ("web", settings)
    assert disconnected == ("bridge", "web")


async def test_connecting_needs_a_network_and_a_container(client: aiohttp.ClientSession) -> None:
    assert (await client.post("/networks/none-such/connect", json={"Container": "web"})).status == 404
    answer = await client.post("/networks/bridge/connect", json={})
    assert (answer.status, await message(answer)) == (
        400, "Container: must be given (hint: its name or id)",
    )  # fmt: skip


async def test_predefined_networks_are_neither_removed_nor_pruned(client: aiohttp.ClientSession) -> None:
    answer = await client.delete("/networks/host")
    assert answer.status == 403
    assert await message(answer) == "host is a pre-defined network and cannot be removed"
    pruned = await client.post("/networks/prune")
    assert (pruned.status, await pruned.json()) == (200, {"NetworksDeleted": None})


def test_labels_are_compared_by_key_or_by_key_and_value() -> None:
    labelled = {"Name": "mine", "Labels": {"a": "b"}}
    for wanted, found in (("a", True), ("a=b", True), ("a=c", False), ("b", False)):
        assert bool(api.select([labelled], {"label": [wanted]}, [])) is found


def test_an_own_network_without_containers_is_dangling() -> None:
    own = {"Name": "mine", "Labels": {}}
    assert api.select([own], {"dangling": ["true"]}, []) == [own]
    assert api.select([own], {"dangling": ["true"]}, ["mine"]) == []
    with pytest.raises(InvalidParameter):
        api.select([own], {"dangling": [""]}, [])
