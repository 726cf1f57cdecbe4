"""Kills and reboots: users' networks come back as they were, and nothing is left."""

import json
import subprocess
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import leaks
import networks_fixtures
import pytest
from native_engine import NativeEngine
from networks_rig import Rig, call, container_id, path_of, port, publish, tcp_server

from wherryd.errors import SystemFault
from wherryd.networks.namespaces import READY_SANDBOXES
from wherryd.networks.sandbox import EndpointWish
from wherryd.networks.service import NetworkService

pytestmark = pytest.mark.root

service = networks_fixtures.service

A, B = container_id(1), container_id(2)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    made = Rig(tmp_path, number=4)
    yield made
    await made.remove()


def device_of(service: NetworkService, network: str) -> str:
    return f"br-{service.find(network).id[:12]}"


async def test_after_a_reboot_networks_are_there_and_containers_are_not(
    rig: Rig, service: NetworkService
) -> None:
    await service.create({"Name": "own", "IPAM": {"Config": [{"Subnet": "10.248.3.0/24"}]}})
    await service.attach(A, mode="own", hostname="h", ports=publish(port(80)))
    described = service.inspect("own") | {"Containers": {}}
    await service.close()
    # What a reboot takes: devices, rules, namespaces.
    for device in (rig.bridge, device_of(service, "own")):
        subprocess.run(["ip", "link", "delete", device], check=True)
        subprocess.run(["nft", "delete", "table", "ip", f"wherry_{device}"], check=True)
    for path in rig.netns.iterdir():
        subprocess.run(["umount", str(path)], check=True)
    again = rig.service()
    await again.open()
    try:
        assert again.inspect("own") == described
        assert again.sandbox(A) is None
        sandbox = await again.attach(B, mode="own", hostname="h", ports={})
        assert sandbox.ip == "10.248.3.2"
    finally:
        await again.close()


async def test_a_network_whose_subnet_another_device_took_does_not_keep_the_engine_from_starting(
    rig: Rig, service: NetworkService
) -> None:
    await service.create({"Name": "own", "IPAM": {"Config": [{"Subnet": "10.248.4.0/24"}]}})
    device = device_of(service, "own")
    await service.close()
    subprocess.run(["ip", "link", "delete", device], check=True)
    vpn = f"{rig.bridge}v"
    subprocess.run(["ip", "link", "add", vpn, "type", "bridge"], check=True)
    again = rig.service()
    try:
        subprocess.run(["ip", "addr", "add", "10.248.4.9/24", "dev", vpn], check=True)
        await again.open()
        with pytest.raises(
            Exception, match=r"10\.248\.4\.0/24 of the bridge .* overlaps with 10\.248\.4\.9/24"
        ):
            await again.attach(A, mode="own", hostname="h", ports={})
        assert again.sandbox(A) is None
        await again.attach(B, mode="default", hostname="h", ports={})
        subprocess.run(["ip", "link", "delete", vpn], check=True)
        assert (await again.attach(A, mode="own", hostname="h", ports={})).ip == "10.248.4.2"
    finally:
        subprocess.run(["ip", "link", "delete", vpn], check=False, capture_output=True)
        await again.close()


async def test_a_refused_connect_leaves_the_container_as_it_was(
    service: NetworkService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new network would have had the default route already when its names could not be served."""
    await service.create({"Name": "beta"})
    await service.create({"Name": "alpha"})
    before = await service.attach(A, mode="beta", hostname="h", ports=publish(port(80)))

    async def fail(*_: object) -> None:
        raise SystemFault("no")

    monkeypatch.setattr("wherryd.networks.attaching.Attacher._serve_names", fail)
    with pytest.raises(SystemFault):
        await service.connect(A, EndpointWish(network="alpha"))
    monkeypatch.undo()
    assert service.sandbox(A) == before
    assert service.inspect("alpha")["Containers"] == {}
    with tcp_server(path_of(before), 80) as server:
        assert call(server, None, "127.0.0.1", before.ports[0].host_port)
    route = subprocess.run(
        ["nsenter", f"--net={path_of(before)}", "ip", "-j", "route"], check=True, capture_output=True
    )
    assert any(line["dst"] == "default" for line in json.loads(route.stdout))
    assert "eth1" not in route.stdout.decode()


def test_containers_on_many_networks_and_an_engine_that_is_killed_leave_nothing(
    fresh_engine: NativeEngine,
) -> None:
    engine = fresh_engine
    names = [f"n{number}" for number in range(4)]
    before = leaks.take()
    with leaks.none_left("br-"):
        for name in names:
            assert engine.call("POST", "/networks/create", {"Name": name}).status == 201
        for turn in range(3):
            _flood_and_kill(engine, names, turn)
        # Containers did come to life in between: most of those that were not to be removed at once.
        assert len(engine.call("GET", "/containers/json", all="1").json) >= 5
        engine.remove_containers()
        assert engine.call("GET", "/containers/json", all="1").json == []
        for name in names:
            assert engine.call("GET", f"/networks/{name}").json["Containers"] == {}
        engine.remove_networks()
    deadline = time.monotonic() + leaks.SETTLE_SECONDS
    while (left := _left(engine, before)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == []


def _left(engine: NativeEngine, before: leaks.Snapshot) -> list[str]:
    return leaks.of_engine(engine.name, engine.folder, engine.pid, before, ready=READY_SANDBOXES)


def _flood_and_kill(engine: NativeEngine, names: list[str], turn: int) -> None:
    """Ten containers at a time come and go while the engine is killed."""

    def life(number: int) -> None:
        networks = {names[number % 4]: {}, names[(number + turn) % 4]: {}}
        try:
            container = engine.create(
                "sleep", "600",
                HostConfig={"NetworkMode": names[number % 4], "PublishAllPorts": True},
                ExposedPorts={"80/tcp": {}},
                NetworkingConfig={"EndpointsConfig": networks},
            )  # fmt: skip
            engine.call("POST", f"/containers/{container}/start")
            engine.call("POST", f"/networks/{names[(number + 3) % 4]}/connect", {"Container": container})
            if number % 2:
                engine.call("DELETE", f"/containers/{container}", force="1")
        except (OSError, AssertionError, ValueError, json.JSONDecodeError):
            return  # the engine was killed in the middle: that is the point

    threads = [threading.Thread(target=life, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    threads[turn].join()
    engine.kill()
    for thread in threads:
        thread.join()
    engine.start()
