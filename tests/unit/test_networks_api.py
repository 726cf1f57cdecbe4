"""/networks over HTTP: the real routes and the real service, which needs no kernel to describe networks."""

import contextlib
import ipaddress
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from wherryd.api import networks as api
from wherryd.api.app import build_app
from wherryd.errors import InvalidParameter
from wherryd.metadata.database import Database
from wherryd.networks.service import NetworkService


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[TestClient[Any, Any]]:
    with contextlib.closing(Database(tmp_path / "wherry.db")) as database:
        service = NetworkService(
            database=database,
            exec_root=tmp_path,
            bridge="wherry0",
            subnet=ipaddress.IPv4Interface("172.17.0.1/16"),
            dns=(),
        )
        async with TestClient(TestServer(build_app([api.routes(service)]))) as made:
            yield made


async def names(client: TestClient[Any, Any], filters: dict[str, list[str]]) -> list[str]:
    answer = await client.get("/networks", params={"filters": json.dumps(filters)})
    assert answer.status == 200
    return [network["Name"] for network in await answer.json()]


async def message(answer: Any) -> str:
    return str((await answer.json())["message"])


async def test_the_three_predefined_networks_are_listed_with_and_without_version(
    client: TestClient[Any, Any],
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
    client: TestClient[Any, Any], filters: dict[str, list[str]], expected: list[str]
) -> None:
    assert await names(client, filters) == expected


@pytest.mark.parametrize(
    "filters",
    [{"type": ["odd"]}, {"scope": ["odd"]}, {"dangling": ["odd"]}, {"dangling": ["0", "1"]}, {"odd": ["x"]}],
)
async def test_a_bad_filter_is_a_bad_request(
    client: TestClient[Any, Any], filters: dict[str, list[str]]
) -> None:
    answer = await client.get("/networks", params={"filters": json.dumps(filters)})
    assert answer.status == 400


async def test_a_network_is_inspected_by_name_id_and_short_id(client: TestClient[Any, Any]) -> None:
    bridge = await (await client.get("/networks/bridge")).json()
    for key in (bridge["Id"], bridge["Id"][:32]):
        assert await (await client.get(f"/networks/{key}")).json() == bridge
    assert bridge["Options"]["com.docker.network.bridge.name"] == "wherry0"


async def test_enable_ipv4_is_unknown_to_old_versions(client: TestClient[Any, Any]) -> None:
    new = await (await client.get("/v1.51/networks/bridge")).json()
    old = await (await client.get("/v1.46/networks/bridge")).json()
    assert new.keys() - old.keys() == {"EnableIPv4"}


@pytest.mark.parametrize("path", ["/networks/no-such", "/networks/bridge?scope=swarm"])
async def test_what_is_not_there_is_not_found(client: TestClient[Any, Any], path: str) -> None:
    answer = await client.get(path)
    assert answer.status == 404
    assert "not found" in await message(answer)


async def test_creating_says_what_does_not_work_yet(client: TestClient[Any, Any]) -> None:
    answer = await client.post("/networks/create", json={"Name": "mine"})
    assert answer.status == 501
    assert "cannot create networks yet" in await message(answer)


@pytest.mark.parametrize(("name", "status"), [("", 400), ("bridge", 403), ("default", 403)])
async def test_creating_checks_the_name_first(client: TestClient[Any, Any], name: str, status: int) -> None:
    assert (await client.post("/networks/create", json={"Name": name})).status == status


@pytest.mark.parametrize("verb", ["connect", "disconnect"])
async def test_connecting_says_what_does_not_work_yet(client: TestClient[Any, Any], verb: str) -> None:
    answer = await client.post(f"/networks/bridge/{verb}", json={"Container": "web"})
    assert answer.status == 501
    assert f"cannot {verb} a container" in await message(answer)
    assert (await client.post(f"/networks/none-such/{verb}", json={})).status == 404


async def test_predefined_networks_are_neither_removed_nor_pruned(client: TestClient[Any, Any]) -> None:
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
