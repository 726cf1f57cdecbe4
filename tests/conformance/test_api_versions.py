"""Each version of the Engine API that is spoken, from the first to the newest: its answers, and its ways.

Every answer is checked against that version's own description, where the reference has published one that we
have (native_engine.py). The fields that came and went are told here once more, by hand, from the API's
"Version history": guest/wherryd/api/history.py is not asked.
"""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from native_engine import IMAGE, NativeEngine
from versions_rig import Client

pytestmark = pytest.mark.root

MINORS = range(24, 52)
#: Since when to when a field is there: document, path, first minor version, first without it.
FIELDS = (
    ("info", "Isolation", 25, 99),
    ("info", "Warnings", 39, 99),
    ("info", "PidsLimit", 40, 99),
    ("info", "CgroupVersion", 41, 99),
    ("info", "KernelMemory", 0, 42),
    ("info", "KernelMemoryTCP", 40, 42),
    ("info", "CDISpecDirs", 44, 99),
    ("info", "RegistryConfig.AllowNondistributableArtifactsCIDRs", 0, 49),
    ("info", "RegistryConfig.AllowNondistributableArtifactsHostnames", 0, 49),
    ("info", "ContainerdCommit.Expected", 0, 49),
    ("info", "RuncCommit.Expected", 0, 49),
    ("info", "InitCommit.Expected", 0, 49),
    ("info", "FirewallBackend", 49, 99),
    ("info", "BridgeNfIptables", 0, 50),
    ("info", "BridgeNfIp6tables", 0, 50),
    ("version", "MinAPIVersion", 25, 99),
    ("version", "Platform", 35, 99),
    ("version", "Components", 35, 99),
    ("container", "HostConfig.DeviceRequests", 40, 99),
    ("container", "HostConfig.CgroupnsMode", 41, 99),
    ("container", "HostConfig.KernelMemory", 0, 42),
    ("container", "HostConfig.KernelMemoryTCP", 40, 42),
    ("container", "HostConfig.Annotations", 43, 99),
    ("container", "Config.Healthcheck.StartInterval", 44, 99),
    ("container", "HostConfig.Mounts.0.BindOptions.NonRecursive", 40, 99),
    ("container", "HostConfig.Mounts.0.BindOptions.CreateMountpoint", 42, 99),
    ("container", "HostConfig.Mounts.0.BindOptions.ReadOnlyNonRecursive", 44, 99),
    ("container", "HostConfig.Mounts.1.TmpfsOptions.Options", 46, 99),
    ("container", "NetworkSettings.Networks.lan.DNSNames", 44, 99),
    ("container", "NetworkSettings.Networks.lan.GwPriority", 48, 99),
    ("container", "NetworkSettings.IPAddress", 0, 99),
    ("listed", "HostConfig.Annotations", 46, 99),
    ("listed", "NetworkSettings.Networks.lan.DNSNames", 44, 99),
    ("listed", "NetworkSettings.Networks.lan.GwPriority", 48, 99),
    ("image", "Metadata", 31, 99),
    ("image", "VirtualSize", 0, 44),
    ("image", "Container", 0, 45),
    ("image", "ContainerConfig", 0, 45),
    ("image", "Config.Hostname", 0, 50),
    ("image", "Config.AttachStdin", 0, 50),
    ("listed image", "VirtualSize", 0, 44),
    ("network", "EnableIPv4", 47, 99),
    ("volume", "CreatedAt", 31, 99),
    ("disk usage", "BuilderSize", 0, 42),
    ("disk usage", "Images.0.VirtualSize", 0, 44),
    ("disk usage", "Volumes.0.UsageData", 0, 99),
)
RICH = {
    "Image": IMAGE,
    "Cmd": ["sleep", "600"],
    "Healthcheck": {"Test": ["NONE"], "StartInterval": 2_000_000},
    "HostConfig": {
        "NetworkMode": "lan",
        "Annotations": {"some": "note"},
        "Mounts": [
            {
                "Type": "bind",
                "Source": "/usr",
                "Target": "/host",
                "ReadOnly": True,
                "BindOptions": {"NonRecursive": True, "CreateMountpoint": True, "ReadOnlyNonRecursive": True},
            },
            {"Type": "tmpfs", "Target": "/fast", "TmpfsOptions": {"Options": [["exec"]]}},
        ],
    },
}


@pytest.fixture(scope="module")
def rich(module_engine: NativeEngine) -> Iterator[str]:
    """A container of the newest version's client with all that a version could know or not."""
    engine = module_engine
    assert engine.call("POST", "/networks/create", {"Name": "lan"}).status == 201
    assert engine.call("POST", "/volumes/create", {"Name": "kept"}).status == 201
    answer = engine.call("POST", "/containers/create", RICH, name="rich")
    assert answer.status == 201, answer.text
    assert engine.call("POST", "/containers/rich/start").status == 204
    yield str(answer.json["Id"])
    engine.remove_containers()
    engine.remove_networks()


@pytest.fixture
def walking(module_engine: NativeEngine) -> Iterator[NativeEngine]:
    """For tests that leave a container of one of two names only when they fail."""
    yield module_engine
    for name in ("walker", "runner"):
        module_engine.remove(name)


def found(document: Any, path: str) -> bool:
    for part in path.split("."):
        if isinstance(document, list):
            document = document[int(part)]
        elif isinstance(document, dict) and part in document:
            document = document[part]
        else:
            return False
    return True


@pytest.mark.parametrize("minor", MINORS)
def test_what_a_version_is_shown_is_what_it_has(module_engine: NativeEngine, rich: str, minor: int) -> None:
    client = Client(module_engine, minor)
    documents = {
        "info": client.get("/info"),
        "version": client.get("/version"),
        "container": client.get("/containers/rich/json", size=1),
        "listed": client.get("/containers/json", all=1, size=1, filters='{"name": ["rich"]}')[0],
        "image": client.get(f"/images/{IMAGE}/json"),
        "listed image": client.get("/images/json", all=1)[0],
        "network": client.get("/networks/lan"),
        "volume": client.get("/volumes/kept"),
        "disk usage": client.get("/system/df"),
    }
    wrong = [
        f"{name}: {path}: {'missing' if since <= minor < until else 'there'}"
        for name, path, since, until in FIELDS
        if found(documents[name], path) is not (since <= minor < until)
    ]
    assert not wrong, "\n".join(wrong)
    aliases = documents["container"]["NetworkSettings"]["Networks"]["lan"]["Aliases"]
    assert aliases == ([rich[:12]] if minor < 45 else None)
    assert (documents["listed image"]["Containers"] == -1) is (minor < 51)
    assert documents["info"]["SecurityOptions"][0].startswith("name=") is (minor >= 25)
    lan = next(network for network in client.get("/networks") if network["Name"] == "lan")
    assert bool(lan["Containers"]) is (minor < 28)
    used = documents["disk usage"]["Containers"][0]
    assert found(used, "NetworkSettings.Networks.lan.GwPriority") is (minor >= 48)


@pytest.mark.parametrize("minor", MINORS)
def test_every_other_get_of_a_version_is_answered(module_engine: NativeEngine, rich: str, minor: int) -> None:
    client = Client(module_engine, minor)
    assert client(200, "GET", "/_ping").text == "OK"
    assert client.get("/containers/rich/top")["Processes"]
    client.get("/containers/rich/changes")
    client(200, "GET", "/containers/rich/logs", stdout=1)
    client(200, "GET", "/containers/rich/archive?path=/etc/passwd")
    client(200, "HEAD", "/containers/rich/archive?path=/etc/passwd")
    assert client.get(f"/images/{IMAGE}/history")
    assert client.get("/volumes")["Volumes"]
    assert client.get("/plugins") == []
    for path in ("/swarm", "/nodes", "/services", "/tasks", "/secrets", "/configs"):
        client(503, "GET", path)
    client(404, "GET", "/containers/nobody/json")
    client(400, "GET", "/containers/json", filters="[")
    # Gone since 1.24, in favour of archive.
    assert client(404, "POST", "/containers/rich/copy", {"Resource": "/"}).message == "page not found"


@pytest.mark.parametrize("minor", MINORS)
def test_a_container_lives_and_ends_in_each_version(walking: NativeEngine, minor: int) -> None:
    began = time.time_ns()
    client = Client(walking, minor)
    body = {
        "Image": IMAGE,
        "Cmd": ["sleep", "600"],
        "Labels": {"walk": str(minor)},
        "HostConfig": {"AutoRemove": False, "Memory": 64 << 20},
    }
    made = client(201, "POST", "/containers/create", body, name="walker").json["Id"]
    client(204, "POST", f"/containers/{made}/start")
    client(304, "POST", f"/containers/{made}/start")
    host = client.get(f"/containers/{made}/json")["HostConfig"]
    assert host["IpcMode"] == ("shareable" if minor < 40 else "private")
    executed = client(201, "POST", f"/containers/{made}/exec", {"Cmd": ["true"]}).json["Id"]
    client(200, "POST", f"/exec/{executed}/start", {"Detach": True})
    missing = client(201, "POST", f"/containers/{made}/exec", {"Cmd": ["/no/such"], "AttachStdout": True})
    client(200, "POST", f"/exec/{missing.json['Id']}/start", {})
    assert client.get(f"/exec/{missing.json['Id']}/json")["ExitCode"] == (126 if minor < 48 else 127)
    client(200, "POST", f"/containers/{made}/update", {"Memory": 65 << 20, "MemorySwap": 130 << 20})
    client(204, "POST", f"/containers/{made}/pause")
    client(204, "POST", f"/containers/{made}/unpause")
    client(204, "POST", f"/containers/{made}/rename", name="runner")
    image = client(201, "POST", "/commit", {}, container=made, repo="walked").json["Id"]
    network = client(201, "POST", "/networks/create", {"Name": "other"}).json["Id"]
    client(200, "POST", f"/networks/{network}/connect", {"Container": "runner"})
    client(200, "POST", f"/networks/{network}/disconnect", {"Container": "runner"})
    client(204, "POST", f"/containers/{made}/stop", t=0)
    assert client(200, "POST", f"/containers/{made}/wait").json["StatusCode"] == 137
    assert client.get(f"/containers/{made}/stats", stream=0)["name"] == "/runner"
    labels = f'{{"label": ["walk={minor}"]}}'
    assert client(200, "POST", "/containers/prune", filters=labels).json["ContainersDeleted"] == [made]
    client(200, "POST", "/networks/prune")
    client(200, "DELETE", f"/images/{image}")
    client(200, "POST", "/images/prune")
    client(201, "POST", "/volumes/create", {"Name": f"named{minor}"})
    pruned = client(200, "POST", "/volumes/prune").json["VolumesDeleted"] or []
    assert (f"named{minor}" in pruned) is (minor < 42)
    client(200, "POST", "/build/prune")
    _check_events(client, began)


def _check_events(client: Client, began: int) -> None:
    text = client(200, "GET", "/events", since=f"{began / 1e9:.9f}", until=f"{time.time():.9f}").text
    told = [json.loads(line) for line in text.splitlines()]
    kinds = {(each["Type"], each["Action"].partition(":")[0]) for each in told}
    assert {("container", "create"), ("container", "die"), ("image", "delete")} <= kinds
    pruned = {kind for kind, action in kinds if action == "prune"}
    everything = {"builder", "container", "image", "network", "volume"}
    assert pruned == (everything if client.minor >= 41 else set())
    assert all("reclaimed" in each["Actor"]["Attributes"] for each in told if each["Action"] == "prune")
    assert (("image", "create") in kinds) is (client.minor >= 46)
    assert (("container", "exec_die") in kinds) is (client.minor >= 36)
    assert all(each["status"] == each["Action"] for each in told if each["Type"] == "container")
