"""What HostConfig asks for arrives in the kernel, or is told by name."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from native_engine import NativeEngine
from test_api_exec import output

from wherryd.cgroups import manager

pytestmark = pytest.mark.root

MIB = 1 << 20


def control_file(engine: NativeEngine, container: str, controller: str, name: str) -> Path:
    """In the container's group of a v1 controller; for v2 the controller counts for nothing."""
    layout = manager.layout()
    mount = layout.mounts["" if layout.version == 2 else controller]
    return mount / engine.cgroup_parent.strip("/") / container / name


@pytest.fixture
def disk() -> str:
    """A node of a block device that nothing uses."""
    devices = [path for path in Path("/dev").glob("loop[0-9]*") if stat.S_ISBLK(path.stat().st_mode)]
    if not devices:
        pytest.skip("needs a block device such as /dev/loop0")
    return str(devices[0])


def test_block_io_limits_arrive_in_the_cgroup(engine: NativeEngine, disk: str) -> None:
    rate = [{"Path": disk, "Rate": 7 * MIB}]
    host: dict[str, Any] = {
        "BlkioDeviceReadBps": rate,
        "BlkioDeviceWriteBps": rate,
        "BlkioDeviceReadIOps": [{"Path": disk, "Rate": 70}],
        "BlkioDeviceWriteIOps": [{"Path": disk, "Rate": 80}],
        "BlkioWeight": 300,
    }
    container = engine.run("sleep", "60", HostConfig=host)
    shown = engine.inspect(container)["HostConfig"]
    assert {key: shown[key] for key in host if key != "BlkioWeight"} == {
        key: value for key, value in host.items() if key != "BlkioWeight"
    }
    device = Path(disk).stat().st_rdev
    number = f"{os.major(device)}:{os.minor(device)}"
    if manager.layout().version == 2:
        line = control_file(engine, container, "io", "io.max").read_text()
        assert f"{number} rbps={7 * MIB} wbps={7 * MIB} riops=70 wiops=80" in line
        return
    for name, value in (
        ("read_bps", 7 * MIB),
        ("write_bps", 7 * MIB),
        ("read_iops", 70),
        ("write_iops", 80),
    ):
        file = control_file(engine, container, "blkio", f"blkio.throttle.{name}_device")
        assert f"{number} {value}" in file.read_text()
    weight = control_file(engine, container, "blkio", "blkio.bfq.weight")
    if weight.exists():
        assert weight.read_text().split()[-1] == "300"
        assert engine.call("POST", f"/containers/{container}/update", {"BlkioWeight": 500}).status == 200
        assert weight.read_text().split()[-1] == "500"


def test_swappiness_and_the_oom_killer_are_set_where_the_kernel_can(engine: NativeEngine) -> None:
    host = {"Memory": 64 * MIB, "MemorySwappiness": 7, "OomKillDisable": True}
    body = {"Image": "busybox:test", "Cmd": ["sleep", "60"], "HostConfig": host}
    made = engine.call("POST", "/containers/create", body).json
    if manager.layout().version == 2:
        assert len([warning for warning in made["Warnings"] if "iscarded" in warning]) == 2
        return
    assert engine.call("POST", f"/containers/{made['Id']}/start").status == 204
    assert control_file(engine, made["Id"], "memory", "memory.swappiness").read_text().strip() == "7"
    control = control_file(engine, made["Id"], "memory", "memory.oom_control").read_text()
    assert "oom_kill_disable 1" in control


def test_an_update_tells_what_it_cannot_change(engine: NativeEngine) -> None:
    container = engine.run("sleep", "60")
    body = {"CpuShares": 200, "Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 1}]}
    answer = engine.call("POST", f"/containers/{container}/update", body)
    assert [warning.partition(":")[0] for warning in answer.json["Warnings"]] == ["Ulimits"]
    assert engine.inspect(container)["HostConfig"]["CpuShares"] == 200


def test_a_value_that_the_kernel_refuses_is_the_clients_fault_and_changes_nothing(
    engine: NativeEngine,
) -> None:
    if manager.layout().version == 2:
        pytest.skip("cgroup v2 has no real-time budget")
    container = engine.run("sleep", "60")
    answer = engine.call("POST", f"/containers/{container}/update", {"CpuRealtimeRuntime": 423})
    assert answer.status == 400
    assert "cpu.rt_runtime_us" in answer.json["message"]
    assert engine.inspect(container)["HostConfig"]["CpuRealtimeRuntime"] == 0


def test_no_restart_policy_for_a_container_that_removes_itself(engine: NativeEngine) -> None:
    container = engine.run("sleep", "60", HostConfig={"AutoRemove": True})
    body = {"RestartPolicy": {"Name": "always"}}
    assert engine.call("POST", f"/containers/{container}/update", body).status == 409


@pytest.mark.parametrize("policy", [1.5, "always", ["always"]])
def test_a_restart_policy_of_an_update_that_is_no_object_is_a_bad_request(
    engine: NativeEngine, policy: Any
) -> None:
    container = engine.create("true")
    answer = engine.call("POST", f"/containers/{container}/update", {"RestartPolicy": policy})
    assert (answer.status, "RestartPolicy: wants an object" in answer.message) == (400, True)


def test_a_cgroup_parent_is_where_the_container_lives(engine: NativeEngine) -> None:
    parent = f"{engine.cgroup_parent}/inner"
    container = engine.run("sleep", "60", HostConfig={"CgroupParent": parent})
    groups = Path(f"/proc/{engine.inspect(container)['State']['Pid']}/cgroup").read_text()
    assert f"{parent}/{container}" in groups


def test_a_device_is_there_as_far_as_allowed(engine: NativeEngine) -> None:
    number = Path("/dev/loop-control").stat().st_rdev
    device = {"PathOnHost": "/dev/loop-control", "PathInContainer": "/dev/mine", "CgroupPermissions": "r"}
    script = "stat -c '%t:%T' /dev/mine; (: </dev/mine) && echo read; (: >/dev/mine) || echo closed"
    found = output(engine, "sh", "-c", script, HostConfig={"Devices": [device]}).splitlines()
    assert {f"{os.major(number):x}:{os.minor(number):x}", "read", "closed"} <= set(found)


def test_device_rules_open_what_was_closed(engine: NativeEngine) -> None:
    number = Path("/dev/loop-control").stat().st_rdev
    script = "(: </dev/loop-control) && echo read"
    host: dict[str, Any] = {"Devices": [{"PathOnHost": "/dev/loop-control", "CgroupPermissions": "m"}]}
    assert "read" not in output(engine, "sh", "-c", script, HostConfig=host).split()
    host["DeviceCgroupRules"] = [f"c {os.major(number)}:{os.minor(number)} r"]
    assert "read" in output(engine, "sh", "-c", script, HostConfig=host).split()


def test_name_servers_and_hosts_are_in_the_containers_files(engine: NativeEngine) -> None:
    host = {
        "Dns": ["192.0.2.53"],
        "DnsOptions": ["ndots:3"],
        "DnsSearch": ["inner.example"],
        "ExtraHosts": ["other:192.0.2.9"],
    }
    script = "cat /etc/resolv.conf /etc/hosts; hostname; cat /proc/sys/kernel/domainname"
    found = output(engine, "sh", "-c", script, HostConfig=host, Hostname="me", Domainname="here.example")
    for words in ("nameserver 192.0.2.53", "ndots:3", "search inner.example", "192.0.2.9\tother"):
        assert words in found
    assert found.splitlines()[-2:] == ["me", "here.example"]


def test_groups_are_added_to_the_process(engine: NativeEngine) -> None:
    found = output(engine, "id", "-G", HostConfig={"GroupAdd": ["4321", "extra"]})
    assert set(found.split()) == {"0", "4321", "2000"}


def test_namespaces_are_the_hosts_or_anothers_on_demand(engine: NativeEngine) -> None:
    kinds = {"IpcMode": "ipc", "PidMode": "pid", "UTSMode": "uts", "CgroupnsMode": "cgroup"}

    def namespaces(container: str) -> dict[str, str]:
        pid = engine.inspect(container)["State"]["Pid"]
        return {key: str(Path(f"/proc/{pid}/ns/{kind}").readlink()) for key, kind in kinds.items()}

    own = {key: str(Path(f"/proc/{engine.pid}/ns/{kind}").readlink()) for key, kind in kinds.items()}
    first = engine.run("sleep", "60", HostConfig={"IpcMode": "shareable"})
    assert not set(namespaces(first).items()) & set(own.items())
    hosts = [key for key in kinds if key != "IpcMode" or Path("/dev/mqueue").is_dir()]
    found = namespaces(engine.run("sleep", "60", HostConfig=dict.fromkeys(hosts, "host")))
    assert {key: found[key] for key in hosts} == {key: own[key] for key in hosts}
    joined = {"IpcMode": f"container:{first}", "PidMode": f"container:{first}"}
    peer = namespaces(engine.run("sleep", "60", HostConfig=joined))
    assert {key: peer[key] for key in joined} == {key: namespaces(first)[key] for key in joined}


def test_a_disabled_network_is_none(engine: NativeEngine) -> None:
    assert output(engine, "ls", "/sys/class/net", NetworkDisabled=True).split() == ["lo"]


def test_all_exposed_ports_are_published_on_demand(engine: NativeEngine) -> None:
    container = engine.run(
        "sleep", "60", ExposedPorts={"81/tcp": {}, "82/udp": {}}, HostConfig={"PublishAllPorts": True}
    )
    ports = engine.inspect(container)["NetworkSettings"]["Ports"]
    assert set(ports) == {"81/tcp", "82/udp"}
    assert all(int(bindings[0]["HostPort"]) for bindings in ports.values())


def test_another_volume_driver_counts_only_where_a_volume_is_made(engine: NativeEngine) -> None:
    host = {"VolumeDriver": "foo"}
    container = engine.create("true", HostConfig=host)
    assert engine.inspect(container)["HostConfig"]["VolumeDriver"] == "foo"
    for fields in (
        {"Volumes": {"/v": {}}, "HostConfig": host},
        {"HostConfig": {**host, "Binds": ["vol:/v"]}},
    ):
        answer = engine.call(
            "POST", "/containers/create", {"Image": "busybox:test", "Cmd": ["true"], **fields}
        )
        assert answer.status == 400
        assert 'plugin "foo" not found' in answer.message


def test_a_link_can_be_removed(engine: NativeEngine) -> None:
    engine.run("sleep", "60", name="linked-to")
    engine.run("sleep", "60", name="linking", HostConfig={"Links": ["linked-to:peer"]})
    assert engine.inspect("linking")["HostConfig"]["Links"] == ["/linked-to:/linking/peer"]
    assert engine.call("DELETE", "/containers/linking/other", link="1").status == 404
    assert engine.call("DELETE", "/containers/linking/peer", link="1").status == 204
    assert engine.inspect("linking")["HostConfig"]["Links"] is None
    assert engine.inspect("linked-to")["State"]["Running"]


def test_runc_is_a_name_for_the_runtime_that_there_is(engine: NativeEngine) -> None:
    body = {"Image": "busybox:test", "Cmd": ["true"], "HostConfig": {"Runtime": "runc"}}
    made = engine.call("POST", "/containers/create", body).json
    assert made["Warnings"] == ["Runtime: wherry-runc takes the place of runc, which is not configured here"]
    assert engine.inspect(made["Id"])["HostConfig"]["Runtime"] == "runc"
    assert engine.call("POST", f"/containers/{made['Id']}/start").status == 204
    assert engine.wait(made["Id"]) == 0


def test_a_container_between_restarts_is_not_removed_without_force(engine: NativeEngine) -> None:
    container = engine.run("false", HostConfig={"RestartPolicy": {"Name": "always"}})
    while engine.inspect(container)["State"]["Status"] != "restarting":
        pass
    answer = engine.call("DELETE", f"/containers/{container}")
    assert answer.status == 409
    assert "stop the container before" in answer.message
    assert engine.call("DELETE", f"/containers/{container}", force="1").status == 204


def test_an_unknown_field_is_warned_about_by_name(engine: NativeEngine) -> None:
    body = {
        "Image": "busybox:test",
        "Cmd": ["true"],
        "Colour": "red",
        "HostConfig": {"ShipSize": 5, "Odd": 0},
    }
    made = engine.call("POST", "/containers/create", body).json
    assert made["Warnings"] == [
        "Colour: is not known here and changes nothing",
        "HostConfig.ShipSize: is not known here and changes nothing",
    ]


def test_a_runtime_may_be_named_beside_hostconfig(engine: NativeEngine) -> None:
    assert engine.inspect(engine.create("true", Runtime="runc"))["HostConfig"]["Runtime"] == "runc"
