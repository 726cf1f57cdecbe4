"""What changed its ways between two versions of the Engine API: the last before and the first after it.

The fields of answers are in test_api_versions.py. Source: Engine API, "Version history".
"""

import asyncio
import json
import time
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from builder_rig import context
from native_engine import IMAGE, NativeEngine
from versions_rig import Client

pytestmark = pytest.mark.root

OTHER = json.dumps({"os": "linux", "architecture": "s390x"})
MAC = "02:42:0a:00:00:77"


def both(engine: NativeEngine, first: int) -> tuple[Client, Client]:
    """The last version before the change, and the first after it."""
    return Client(engine, first - 1), Client(engine, first)


def created(client: Client, host: dict[str, Any] | None = None, **body: Any) -> Any:
    """What the newest version shows of a container that this one made."""
    document = {"Image": IMAGE, "Cmd": ["true"], "HostConfig": host or {}, **body}
    made = client(201, "POST", "/containers/create", document).json["Id"]
    return client.engine.inspect(made)


# Streams


def test_a_stream_says_that_it_is_multiplexed_since_1_42(engine: NativeEngine) -> None:
    container = engine.run("sleep", "60")
    upgrade = {"Connection": "Upgrade", "Upgrade": "tcp"}
    for minor, kind in ((41, "raw"), (42, "multiplexed")):
        media_type = f"application/vnd.docker.{kind}-stream"
        root = f"/v1.{minor}/containers/{container}"
        assert engine.call("GET", f"{root}/logs", stdout=1).headers["Content-Type"] == media_type
        attached = engine.call("POST", f"{root}/attach", headers=upgrade, logs=1, stdout=1)
        assert (attached.status, attached.headers["Content-Type"]) == (101, media_type)
        made = engine.call("POST", f"{root}/exec", {"Cmd": ["true"], "AttachStdout": True}).json["Id"]
        executed = engine.call("POST", f"/v1.{minor}/exec/{made}/start", {}, headers=upgrade)
        assert (executed.status, executed.headers["Content-Type"]) == (101, media_type)


async def websocket(engine: NativeEngine, minor: int, query: str) -> list[aiohttp.WSMessage]:
    connector = aiohttp.UnixConnector(str(engine.socket))
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.timeout(60):
        url = f"http://localhost/v1.{minor}/containers/talker/attach/ws?logs=1&{query}"
        async with session.ws_connect(url) as connection:
            return [message async for message in connection]


async def test_a_websocket_is_text_before_1_28_and_whole_before_1_42(engine: NativeEngine) -> None:
    run = ("sh", "-c", "printf '\\303\\244'; printf err >&2")
    container = await asyncio.to_thread(lambda: engine.run(*run, name="talker"))
    await asyncio.to_thread(engine.wait, container)
    for minor, kind, wanted in (
        (27, aiohttp.WSMsgType.TEXT, "ä"),
        (28, aiohttp.WSMsgType.BINARY, "ä".encode()),
    ):
        messages = await websocket(engine, minor, "stdout=1")
        assert {message.type for message in messages} == {kind}
        assert wanted[:1] in messages[0].data
    texts = [
        b"".join(message.data for message in await websocket(engine, minor, "stdout=1")) for minor in (41, 42)
    ]
    assert [b"err" in text for text in texts] == [True, False]


def test_wait_answers_in_two_steps_and_knows_conditions_since_1_30(engine: NativeEngine) -> None:
    container = engine.run("sh", "-c", "exit 3")
    engine.wait(container)
    path = f"/containers/{container}/wait"
    old, new = both(engine, 30)
    whole, streamed = old(200, "POST", path, condition="nonsense"), new(200, "POST", path)
    assert whole.json["StatusCode"] == streamed.json["StatusCode"] == 3
    # What has its length before it cannot have begun before the end.
    assert ("Content-Length" in whole.headers, "Content-Length" in streamed.headers) == (True, False)
    new(400, "POST", path, condition="nonsense")


# Parameters


def test_stop_takes_a_signal_since_1_42(engine: NativeEngine) -> None:
    script = "trap 'exit 7' USR1; touch /ready; while :; do sleep 0.1; done"
    for client, code in zip(both(engine, 42), (137, 7), strict=True):
        container = engine.run("sh", "-c", script)
        for _ in range(500):
            if engine.call("HEAD", f"/containers/{container}/archive?path=/ready").status == 200:
                break
            time.sleep(0.02)
        client(204, "POST", f"/containers/{container}/stop", signal="USR1", t=0 if code == 137 else 30)
        assert engine.wait(container) == code


def test_stats_of_one_shot_have_no_second_sample_since_1_41(engine: NativeEngine) -> None:
    container = engine.run("sleep", "60")
    found = [
        client.get(f"/containers/{container}/stats", stream=0, one_shot=1) for client in both(engine, 41)
    ]
    assert [each["precpu_stats"]["cpu_usage"]["total_usage"] > 0 for each in found] == [True, False]


def test_system_df_has_kinds_since_1_42(engine: NativeEngine) -> None:
    old, new = both(engine, 42)
    assert set(new.get("/system/df", type="volume")) == {"Volumes"}
    everything = {"LayersSize", "Images", "Containers", "Volumes", "BuildCache", "BuilderSize"}
    assert set(old.get("/system/df", type="volume")) == everything
    old(200, "GET", "/system/df", type="nonsense")
    new(400, "GET", "/system/df", type="nonsense")


def test_lists_of_images_had_a_filter_of_their_own_up_to_1_40(engine: NativeEngine) -> None:
    old, new = both(engine, 41)
    assert (old.get("/images/json", filter="no/such"), bool(new.get("/images/json", filter="no/such"))) == (
        [],
        True,
    )
    old, new = both(engine, 42)
    sizes = [client.get("/images/json", shared_size=1)[0]["SharedSize"] for client in (old, new)]
    assert sizes[0] == -1 < sizes[1]


def test_lists_of_containers_had_before_and_since_in_1_24(engine: NativeEngine) -> None:
    first, second = engine.create("true"), engine.create("true")
    old, new = both(engine, 25)
    for parameters, expected in (({"before": second}, [first]), ({"since": first}, [second])):
        assert [each["Id"] for each in old.get("/containers/json", all=1, **parameters)] == expected
        assert len(new.get("/containers/json", all=1, **parameters)) == 2


@pytest.mark.parametrize(
    ("first", "method", "path"),
    [
        (49, "GET", f"/images/{IMAGE}/json"),
        (48, "GET", f"/images/{IMAGE}/history"),
        (48, "GET", f"/images/{IMAGE}/get"),
    ],
)
def test_platforms_of_images_are_heeded_since_a_version(
    engine: NativeEngine, first: int, method: str, path: str
) -> None:
    old, new = both(engine, first)
    old(200, method, path, platform=OTHER)
    new(404, method, path, platform=OTHER)


def test_a_platform_of_a_container_and_of_a_removal_is_heeded_since_a_version(engine: NativeEngine) -> None:
    old, new = both(engine, 41)
    body = {"Image": IMAGE, "Cmd": ["true"]}
    old(201, "POST", "/containers/create", body, platform="linux/s390x")
    new(404, "POST", "/containers/create", body, platform="linux/s390x")
    engine.call("POST", f"/images/{IMAGE}/tag", repo="going", tag="1")
    old, new = both(engine, 50)
    new(404, "DELETE", "/images/going:1", platforms=OTHER)
    old(200, "DELETE", "/images/going:1", platforms=OTHER)


def test_removal_of_a_volume_may_be_forced_since_1_25(engine: NativeEngine) -> None:
    old, new = both(engine, 25)
    old(404, "DELETE", "/volumes/nowhere", force=1)
    new(204, "DELETE", "/volumes/nowhere", force=1)


def test_a_build_tells_of_its_image_in_aux_since_1_30(engine: NativeEngine) -> None:
    files = context({"Dockerfile": f"FROM {IMAGE}\nLABEL a=b\n"})
    headers = {"Content-Type": "application/x-tar"}
    told = [engine.call("POST", f"/v1.{minor}/build", files, headers=headers).text for minor in (29, 30)]
    assert ['"aux"' in text for text in told] == [False, True]
    assert all("Successfully built" in text for text in told)


# Containers


def test_a_container_may_be_on_several_networks_since_1_44(engine: NativeEngine) -> None:
    for name in ("lan", "other"):
        engine.call("POST", "/networks/create", {"Name": name})
    body = {
        "Image": IMAGE,
        "Cmd": ["true"],
        "HostConfig": {"NetworkMode": "lan"},
        "NetworkingConfig": {"EndpointsConfig": {"lan": {}, "other": {}}},
    }
    old, new = both(engine, 44)
    assert "multiple network endpoints" in old(400, "POST", "/containers/create", body).message
    made = new(201, "POST", "/containers/create", body).json["Id"]
    assert set(engine.inspect(made)["NetworkSettings"]["Networks"]) == {"lan", "other"}


def test_a_mac_address_is_the_networks_since_1_44(engine: NativeEngine) -> None:
    old, new = both(engine, 44)
    endpoints = {"NetworkingConfig": {"EndpointsConfig": {"bridge": {"MacAddress": MAC}}}}
    shown = [
        created(client, **endpoints)["NetworkSettings"]["Networks"]["bridge"]["MacAddress"]
        for client in (old, new)
    ]
    assert shown == ["", MAC]
    for client, warned in ((old, 0), (new, 1)):
        body = {"Image": IMAGE, "Cmd": ["cat", "/sys/class/net/eth0/address"], "MacAddress": MAC}
        answer = client(201, "POST", "/containers/create", body).json
        assert sum("deprecated" in warning for warning in answer["Warnings"]) == warned
        engine.call("POST", f"/containers/{answer['Id']}/start")
        engine.wait(answer["Id"])
        assert MAC.encode() in engine.call("GET", f"/containers/{answer['Id']}/logs", stdout=1).body
        assert engine.inspect(answer["Id"])["Config"]["MacAddress"] == MAC


def test_a_sysctl_of_eth0_moves_to_the_network_and_is_refused_since_1_48(engine: NativeEngine) -> None:
    key = "net.ipv4.conf.eth0.log_martians"
    old, new = both(engine, 48)
    body = {
        "Image": IMAGE,
        "Cmd": ["cat", f"/proc/sys/{key.replace('.', '/')}"],
        "HostConfig": {"Sysctls": {key: "1"}},
    }
    answer = old(201, "POST", "/containers/create", body).json
    assert answer["Warnings"][0].startswith(f'Migrated sysctl "{key}"')
    engine.call("POST", f"/containers/{answer['Id']}/start")
    assert engine.wait(answer["Id"]) == 0
    assert b"1\n" in engine.call("GET", f"/containers/{answer['Id']}/logs", stdout=1).body
    assert "must be supplied using driver option" in new(400, "POST", "/containers/create", body).message


def test_a_priority_for_the_gateway_counts_since_1_48(engine: NativeEngine) -> None:
    endpoints = {"NetworkingConfig": {"EndpointsConfig": {"bridge": {"GwPriority": 5}}}}
    shown = [
        created(client, **endpoints)["NetworkSettings"]["Networks"]["bridge"]["GwPriority"]
        for client in both(engine, 48)
    ]
    assert shown == [0, 5]


@pytest.mark.parametrize(
    ("first", "host", "field", "before", "after"),
    [
        (25, {"AutoRemove": True}, "AutoRemove", False, True),
        (40, {}, "IpcMode", "shareable", "private"),
        (42, {"ConsoleSize": [30, 90]}, "ConsoleSize", [0, 0], [30, 90]),
        (43, {"Annotations": {"a": "b"}}, "Annotations", None, {"a": "b"}),
    ],
)
def test_a_field_of_a_request_counts_since_a_version(
    engine: NativeEngine, first: int, host: dict[str, Any], field: str, before: Any, after: Any
) -> None:
    shown = [created(client, dict(host))["HostConfig"].get(field) for client in both(engine, first)]
    assert shown == [before, after]


def test_the_cgroup_namespace_was_the_hosts_with_cgroup_v1_before_1_41(engine: NativeEngine) -> None:
    is_v1 = engine.call("GET", "/info").json["CgroupVersion"] == "1"
    shown = [created(client)["HostConfig"]["CgroupnsMode"] for client in both(engine, 41)]
    assert shown == ["host" if is_v1 else "private", "private"]


def test_kernel_memory_is_kept_up_to_1_41_and_warned_of_always(engine: NativeEngine) -> None:
    body = {"Image": IMAGE, "Cmd": ["true"], "HostConfig": {"KernelMemory": 64 << 20}}
    for client in both(engine, 42):
        answer = client(201, "POST", "/containers/create", body).json
        assert "kernel memory limit" in answer["Warnings"][0]
        host = client.get(f"/containers/{answer['Id']}/json")["HostConfig"]
        assert host.get("KernelMemory") == (64 << 20 if client.minor == 41 else None)


def test_options_of_another_kind_of_mount_are_refused_since_1_42(engine: NativeEngine) -> None:
    mount = {"Type": "tmpfs", "Target": "/x", "VolumeOptions": {"NoCopy": True}}
    body = {"Image": IMAGE, "Cmd": ["true"], "HostConfig": {"Mounts": [mount]}}
    old, new = both(engine, 42)
    old(201, "POST", "/containers/create", body)
    assert "VolumeOptions must not be" in new(400, "POST", "/containers/create", body).message


def test_connecting_names_a_mac_address_since_1_44(engine: NativeEngine) -> None:
    engine.call("POST", "/networks/create", {"Name": "lan"})
    shown = []
    for client in both(engine, 44):
        container = engine.create("true")
        wish = {"Container": container, "EndpointConfig": {"MacAddress": MAC}}
        client(200, "POST", "/networks/lan/connect", wish)
        shown.append(engine.inspect(container)["NetworkSettings"]["Networks"]["lan"]["MacAddress"])
    assert shown == ["", MAC]


def test_a_network_without_ipv4_can_be_asked_for_since_1_48(engine: NativeEngine) -> None:
    old, new = both(engine, 48)
    made = old(201, "POST", "/networks/create", {"Name": "lan", "EnableIPv4": False}).json["Id"]
    assert engine.call("GET", f"/networks/{made}").json["EnableIPv4"] is True
    # Which this engine has not: it says so.
    assert new(501, "POST", "/networks/create", {"Name": "six", "EnableIPv4": False}).message


def test_a_size_of_an_execs_console_is_read_since_1_42(engine: NativeEngine) -> None:
    container = engine.run("sleep", "60")
    sizes = []
    for client in both(engine, 42):
        body = {"Cmd": ["stty", "size"], "Tty": True, "AttachStdout": True, "ConsoleSize": [33, 99]}
        made = client(201, "POST", f"/containers/{container}/exec", body).json["Id"]
        sizes.append(client(200, "POST", f"/exec/{made}/start", {"Tty": True}).text.strip())
    assert sizes[1] == "33 99" != sizes[0]


def test_names_of_versions_are_checked_at_both_ends(engine: NativeEngine) -> None:
    for text in ("1.23", "1.52", "2.0"):
        answer = engine.call("GET", f"/v{quote(text)}/info")
        assert (answer.status, text in answer.message) == (400, True)
