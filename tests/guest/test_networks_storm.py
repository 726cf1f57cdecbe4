"""Many containers at once come and go while the engine is killed again and again: nothing is left of them.

WHERRY_STORM_CONTAINERS, WHERRY_STORM_AT_ONCE and WHERRY_STORM_KILLS make more of it: 500, 50 and 20, say.
"""

import json
import os
import queue
import subprocess
import threading
import time

import leaks
import pytest
from native_engine import NativeEngine

from wherryd.networks.namespaces import READY_SANDBOXES

pytestmark = pytest.mark.root

CONTAINERS = int(os.environ.get("WHERRY_STORM_CONTAINERS", "30"))
AT_ONCE = int(os.environ.get("WHERRY_STORM_AT_ONCE", "10"))
KILLS = int(os.environ.get("WHERRY_STORM_KILLS", "2"))
_SETTLE_SECONDS = 30.0
#: What a call ends with when its engine is killed.
_CUT_OFF = (OSError, ValueError, AssertionError)


class Storm:
    """`lived` counts containers that were started and removed."""

    def __init__(self, engine: NativeEngine, networks: list[str]) -> None:
        self._engine = engine
        self._networks = networks
        self._left: queue.SimpleQueue[int] = queue.SimpleQueue()
        for number in range(CONTAINERS):
            self._left.put(number)
        #: Cleared while no engine runs.
        self.up = threading.Event()
        self.up.set()
        self.lived = 0
        self.cut_off = 0
        #: Whose container may be there already, in whatever state.
        self._broken: set[int] = set()
        self._count = threading.Lock()

    def work(self) -> None:
        """Until there are no more; a container whose life was cut off begins another one."""
        while True:
            try:
                number = self._left.get_nowait()
            except queue.Empty:
                return
            self.up.wait()
            try:
                self._live(number)
            except _CUT_OFF:
                with self._count:
                    self.cut_off += 1
                    self._broken.add(number)
                self._left.put(number)
            else:
                with self._count:
                    self.lived += 1

    def _live(self, number: int) -> None:
        engine, count, name = self._engine, len(self._networks), f"storm{number}"
        if number in self._broken:
            assert engine.call("DELETE", f"/containers/{name}", force="1", v="1").status in (204, 404)
        first, second, third = (self._networks[(number + step) % count] for step in range(3))
        container = engine.create(
            "sleep", "600", name=name,
            HostConfig={
                "NetworkMode": first, "PublishAllPorts": True,
                "Mounts": [{"Type": "volume", "Target": "/data"}, {"Type": "tmpfs", "Target": "/t"}],
            },
            ExposedPorts={"80/tcp": {}, "53/udp": {}},
            NetworkingConfig={"EndpointsConfig": {first: {}, second: {}}},
        )  # fmt: skip
        assert engine.call("POST", f"/containers/{container}/start").status == 204
        assert engine.call("POST", f"/networks/{third}/connect", {"Container": container}).status == 200
        assert engine.call("DELETE", f"/containers/{container}", force="1", v="1").status == 204


def test_of_many_containers_and_an_engine_that_is_killed_nothing_is_left(
    fresh_engine: NativeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Fifty lives that were cut off at once are a lot to find again on a busy machine.
    monkeypatch.setattr("native_engine.START_SECONDS", 120)
    engine = fresh_engine
    networks = [f"n{number}" for number in range(4)]
    before = leaks.take()
    with leaks.none_left("br-"):
        for name in networks:
            assert engine.call("POST", "/networks/create", {"Name": name}).status == 201
        storm = Storm(engine, networks)
        threads = [threading.Thread(target=storm.work, daemon=True) for _ in range(AT_ONCE)]
        for thread in threads:
            thread.start()
        for kill in range(KILLS):
            _wait_for_progress(storm, threads, (kill + 1) * CONTAINERS // (KILLS + 1))
            storm.up.clear()
            engine.kill()
            engine.start()
            storm.up.set()
        for thread in threads:
            thread.join()
        print(f"{storm.lived} containers, {KILLS} kills, {storm.cut_off} lives cut off")  # noqa: T201
        assert storm.lived == CONTAINERS
        _nothing_is_left(engine, networks, before)
        engine.remove_networks()


def _wait_for_progress(storm: Storm, threads: list[threading.Thread], lived: int) -> None:
    while storm.lived < lived and any(thread.is_alive() for thread in threads):
        time.sleep(0.01)


def _nothing_is_left(engine: NativeEngine, networks: list[str], before: leaks.Snapshot) -> None:
    engine.remove_containers()  # those whose life was cut off
    assert engine.call("POST", "/volumes/prune", filters=json.dumps({"all": ["true"]})).status == 200
    assert engine.call("GET", "/containers/json", all="1").json == []
    bridges = {"bridge": engine.bridge}
    for name in networks:
        shown = engine.call("GET", f"/networks/{name}").json
        assert shown["Containers"] == {}
        bridges[name] = f"br-{shown['Id'][:12]}"
    own = {*bridges.values()}

    def left() -> list[str]:
        found = leaks.of_engine(engine.name, engine.folder, engine.pid, before, ready=READY_SANDBOXES)
        # The networks' own devices stay until they are removed; their ports must not.
        return [
            *found,
            *(f"port: {line}" for bridge in own for line in _ports(bridge)),
            *(f"rule: {rule}" for bridge in own for rule in _published(bridge)),
            *(f"address: {bridge} has {count}" for bridge in own if (count := _addresses(bridge)) != 1),
            *(f"folder: {each}" for each in _folders(engine)),
        ]

    deadline = time.monotonic() + _SETTLE_SECONDS
    while left() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left() == []
    # Every address can be given out again: the next containers begin where the subnet does, or go on.
    for name in networks:
        container = engine.run("true", HostConfig={"NetworkMode": name})
        assert engine.wait(container) == 0
        engine.remove(container)


def _ports(bridge: str) -> list[str]:
    shown = subprocess.run(["ip", "-o", "link", "show", "master", bridge], capture_output=True, check=True)
    return shown.stdout.decode().splitlines()


def _published(bridge: str) -> list[str]:
    """Elements of the maps of published ports."""
    table = f"wherry_{bridge}"
    found = []
    for name in ("published", "published_at"):
        shown = subprocess.run(
            ["nft", "-j", "list", "map", "ip", table, name], capture_output=True, check=True
        )
        for each in json.loads(shown.stdout)["nftables"]:
            found += [str(element) for element in each.get("map", {}).get("elem", ())]
    return found


def _addresses(bridge: str) -> int:
    shown = subprocess.run(["ip", "-4", "-j", "addr", "show", bridge], capture_output=True, check=True)
    return len(json.loads(shown.stdout)[0]["addr_info"])


def _folders(engine: NativeEngine) -> list[str]:
    """Of containers and volumes, in the data and the exec root."""
    places = [engine.data_root / "containers", engine.data_root / "volumes", engine.exec_root / "bundles"]
    return [str(each) for place in places if place.exists() for each in place.iterdir() if each.is_dir()]
