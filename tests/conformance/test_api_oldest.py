"""The first version of the Engine API that is spoken, against its own description: prose with examples.

Every field that an example of an answer shows is in ours, and of the same kind.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import swagger
from native_engine import IMAGE, NativeEngine
from versions_rig import Client

pytestmark = pytest.mark.root

PROSE = swagger.path("1.51").with_name("v1.24.md")
#: Maps whose keys are the user's, or names and ids of the moment.
DATA = ("Labels", "networks", "Containers")
#: In its examples, and left out by dockerd where they have no value, as here.
LEFT_OUT = {
    "container.Config.NetworkDisabled",
    "container.HostConfig.StorageOpt",
    *(
        f"image.{config}.{key}"
        for config in ("Config", "ContainerConfig")
        for key in ("ExposedPorts", "MacAddress", "NetworkDisabled")
    ),
    "version.Experimental",
    "volume.Status",
    # Of parts that dockerd has no more, whatever the version.
    *("info.ClusterStore", "info.InitPath", "info.InitSha1", "info.SystemStatus"),
    *("image.Config.PublishService", "image.ContainerConfig.PublishService"),
}


def example(heading: str) -> Any:
    """The JSON of the first example of an answer below a heading."""
    text = PROSE.read_text()
    part = text.split(f"\n#### {heading}\n", 1)[1].split("\n#### ", 1)[0]
    block = part.split("**Example response", 1)[1].split("\n\n", 1)[1]
    body = re.split(r"Content-Type: application/json\n", block, maxsplit=1)[1]
    found, _ = json.JSONDecoder().raw_decode(body.strip())
    return found


def differences(shown: Any, ours: Any, where: str) -> Iterator[str]:
    """Of lists the first entries are compared."""
    if isinstance(shown, list):
        if not isinstance(ours, list) and ours is not None:
            yield f"{where}: a list in the example, {ours!r} here"
        elif shown and ours:
            yield from differences(shown[0], ours[0], f"{where}[0]")
    elif isinstance(shown, dict):
        if not isinstance(ours, dict):
            if ours is not None:
                yield f"{where}: an object in the example, {ours!r} here"
            return
        for key, value in shown.items():
            if key in DATA:
                continue
            if key in ours:
                yield from differences(value, ours[key], f"{where}.{key}")
            elif f"{where}.{key}" not in LEFT_OUT:
                yield f"{where}.{key}: missing"
    elif ours is not None and shown is not None:
        numbers = not isinstance(shown, bool) and isinstance(shown, int | float)
        if not isinstance(ours, int | float if numbers else type(shown)):
            yield f"{where}: {shown!r} in the example, {ours!r} here"


def test_answers_have_what_the_examples_of_1_24_show(engine: NativeEngine) -> None:
    if not PROSE.exists():
        pytest.skip("needs the Engine API's description (WHERRY_SHARED)")
    client = Client(engine, 24)
    made = engine.run(
        *("sleep", "60"),
        name="shown",
        ExposedPorts={"80/tcp": {}},
        StopSignal="SIGTERM",
        NetworkingConfig={"EndpointsConfig": {"bridge": {"MacAddress": "02:42:0a:00:00:66"}}},
        HostConfig={
            "Sysctls": {"net.ipv4.ip_forward": "1"},
            "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1"}]},
        },
    )
    executed = client(201, "POST", f"/containers/{made}/exec", {"Cmd": ["true"]}).json["Id"]
    client(201, "POST", "/volumes/create", {"Name": "shown"})
    pairs = {
        "containers": ("List containers", client.get("/containers/json", all=1, size=1)),
        "container": ("Inspect a container", client.get("/containers/shown/json")),
        "top": ("List processes running inside a container", client.get("/containers/shown/top")),
        "stats": (
            "Get container stats based on resource usage",
            client.get("/containers/shown/stats", stream=0),
        ),
        "images": ("List Images", client.get("/images/json")),
        "image": ("Inspect an image", client.get(f"/images/{IMAGE}/json")),
        "history": ("Get the history of an image", client.get(f"/images/{IMAGE}/history")),
        "info": ("Display system-wide information", client.get("/info")),
        "version": ("Show the docker version information", client.get("/version")),
        "exec": ("Exec Inspect", client.get(f"/exec/{executed}/json")),
        "volumes": ("List volumes", client.get("/volumes")),
        "volume": ("Inspect a volume", client.get("/volumes/shown")),
        "networks": ("List networks", client.get("/networks")),
        "network": ("Inspect network", client.get("/networks/bridge")),
    }
    engine.remove_containers()
    client(204, "DELETE", "/volumes/shown")
    found = [
        line for name, (heading, ours) in pairs.items() for line in differences(example(heading), ours, name)
    ]
    assert not found, "\n".join(found)
