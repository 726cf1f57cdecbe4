"""config.json's door: all problems at once, nothing ignored that changes what a container may do."""

import json
from pathlib import Path
from typing import Any

import pytest

from wherryd.errors import InvalidParameter, NotSupported
from wherryd.spec import defaults, oci, parse, resources


def _config(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "ociVersion": "1.2.0",
        "process": {"args": ["sh"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 1, "gid": 2}},
        "root": {"path": "rootfs"},
        "mounts": defaults.mounts(),
        "linux": {"namespaces": [{"type": kind} for kind in defaults.NAMESPACES]},
    }
    return base | changes


def test_a_plain_config_becomes_a_spec() -> None:
    spec = parse.parse(_config(hostname="box"))
    assert spec.process is not None
    assert (spec.process.args, spec.process.user.uid, spec.hostname) == (("sh",), 1, "box")
    assert spec.linux.is_new(oci.NamespaceKind.PID)
    assert not spec.linux.is_new(oci.NamespaceKind.USER)
    assert spec.mounts[0].destination == "/proc"


def test_all_problems_are_told_at_once_with_their_place() -> None:
    broken = _config(ociVersion="2.0")
    broken["process"] |= {
        "args": [],
        "cwd": "relative",
        "env": ["NOVALUE"],
        "rlimits": [{"soft": 5, "hard": 4}],
    }
    with pytest.raises(InvalidParameter) as caught:
        parse.parse(broken)
    for place in ("ociVersion", "process.args", "process.cwd", "process.env", "process.rlimits[0].soft"):
        assert place in str(caught.value)


@pytest.mark.parametrize("uid", [-1, 2**31, 2**32 - 1, "0", True, 1.5])
def test_ids_out_of_range_are_refused(uid: object) -> None:
    """CVE-2024-40635: a huge uid must not wrap around to root."""
    with pytest.raises(InvalidParameter, match="uid"):
        parse.parse(_config(process={"args": ["sh"], "cwd": "/", "user": {"uid": uid}}))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("linux.intelRdt", {"closID": "x"}),
        ("linux.netDevices", {"eth1": {}}),
        ("linux.resources.memory.kernel", 1 << 20),
        ("process.commandLine", "x"),
    ],
)
def test_what_the_runtime_cannot_do_is_refused_by_name(path: str, value: Any) -> None:
    document = _config()
    target: Any = document
    *parents, last = path.replace("[0]", ".0").split(".")
    for part in parents:
        target = target[int(part)] if part.isdigit() else target.setdefault(part, {})
    target[last] = value
    with pytest.raises(NotSupported) as caught:
        parse.parse(document)
    assert path in str(caught.value)


def test_empty_values_of_refused_fields_are_no_request() -> None:
    document = _config(hooks={})
    document["linux"] |= {"seccomp": None, "mountLabel": ""}
    document["process"]["apparmorProfile"] = ""
    parse.parse(document)


@pytest.mark.parametrize(
    ("name", "needs"),
    [("kernel.panic", "the host"), ("net.ipv4.ip_forward", "network"), ("net..x", "the host")],
)
def test_sysctls_outside_the_containers_namespaces_are_refused(name: str, needs: str) -> None:
    document = _config()
    document["linux"] = {"namespaces": [{"type": "mount"}], "sysctl": {name: "1"}}
    with pytest.raises(InvalidParameter, match=needs):
        parse.parse(document)


def test_a_user_namespace_needs_a_mount_namespace_of_its_own() -> None:
    mappings = [{"containerID": 0, "hostID": 1000, "size": 1}]
    linux = {"namespaces": [{"type": "user"}], "uidMappings": mappings, "gidMappings": mappings}
    with pytest.raises(InvalidParameter, match="mount namespace"):
        parse.parse(_config(linux=linux))


def test_scheduling_becomes_the_kernels_numbers() -> None:
    document = _config()
    document["process"] |= {
        "scheduler": {"policy": "SCHED_FIFO", "priority": 10, "flags": ["SCHED_FLAG_RESET_ON_FORK"]},
        "ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 3},
        "execCPUAffinity": {"initial": "0-2,5", "final": "1"},
    }
    document["linux"]["personality"] = {"domain": "LINUX32"}
    spec = parse.parse(document)
    process = spec.process
    assert process is not None
    assert process.scheduler == oci.Scheduler(policy=1, priority=10, flags=1)
    assert process.io_priority == oci.IoPriority(kind=3, level=3)
    assert process.cpu_affinity == oci.CpuAffinity(initial=(0, 1, 2, 5), final=(1,))
    assert spec.linux.personality == 8


@pytest.mark.parametrize(
    ("field", "value", "place"),
    [
        ("scheduler", {"policy": "SCHED_BEST"}, "process.scheduler.policy"),
        ("scheduler", {"policy": "SCHED_OTHER", "priority": 1}, "process.scheduler.priority"),
        ("scheduler", {"policy": "SCHED_OTHER", "nice": 20}, "process.scheduler.nice"),
        ("scheduler", {"policy": "SCHED_FIFO", "flags": ["X"]}, "process.scheduler.flags"),
        ("scheduler", {"policy": "SCHED_FIFO", "runtime": 5}, "process.scheduler.runtime"),
        ("ioPriority", {"class": "IOPRIO_CLASS_X"}, "process.ioPriority.class"),
        ("execCPUAffinity", {"initial": "0-99999"}, "process.execCPUAffinity.initial"),
        ("execCPUAffinity", {"final": "1-"}, "process.execCPUAffinity.final"),
    ],
)
def test_scheduling_the_kernel_does_not_have_is_refused(field: str, value: Any, place: str) -> None:
    document = _config()
    document["process"][field] = value
    with pytest.raises(InvalidParameter, match=place):
        parse.parse(document)


def test_unified_keys_stay_inside_the_group() -> None:
    assert parse.parse_resources({"unified": {"memory.high": "1"}}).unified == {"memory.high": "1"}
    for name in ("../memory.high", "x/memory.high", "memory", ".."):
        with pytest.raises(InvalidParameter, match="control file"):
            parse.parse_resources({"unified": {name: "1"}})


def test_default_devices_are_added_to_the_rules_and_alone_deny_the_rest() -> None:
    null = oci.DeviceRule(allow=True, kind="c", major=1, minor=3)
    own = oci.DeviceRule(allow=True, kind="c", major=10, minor=229)
    for given in (oci.Resources(), oci.Resources(devices=(oci.DeviceRule(allow=False), own))):
        rules = resources.with_default_devices(given).devices
        assert rules[0] == oci.DeviceRule(allow=False)
        assert null in rules
        assert (own in rules) is bool(given.devices)
    all_of_docker = parse.parse_resources({"devices": list(defaults.DEVICE_RULES)})
    assert resources.with_default_devices(all_of_docker) == all_of_docker


def test_a_missing_or_broken_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameter, match="does not exist"):
        parse.load(tmp_path / "config.json")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InvalidParameter, match="not JSON"):
        parse.load(tmp_path / "config.json")


def test_the_defaults_are_a_valid_config(tmp_path: Path) -> None:
    document = _config()
    document["linux"] |= {
        "maskedPaths": list(defaults.MASKED_PATHS),
        "readonlyPaths": list(defaults.READONLY_PATHS),
        "resources": {"devices": list(defaults.DEVICE_RULES)},
        "sysctl": dict(defaults.SYSCTLS),
    }
    (tmp_path / "config.json").write_text(json.dumps(document))
    spec = parse.load(tmp_path / "config.json")
    assert len(spec.linux.resources.devices) == len(defaults.DEVICE_RULES)
