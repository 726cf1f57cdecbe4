"""Fields of config.json that no other test looks at: each is seen in force, from inside or in /proc."""

import contextlib
import json
import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import runtime_fixtures
from runtime_rig import CGROUP, Rig, config
from security_rig import attacker, bind, findings

from wherryd.cgroups.manager import layout
from wherryd.errors import EngineError, KernelFault, RuntimeFault
from wherryd.runtime import identity
from wherryd.runtime.client import Monitor
from wherryd.spec.scheduling import POLICIES
from wherryd.sys import scheduling

pytestmark = [pytest.mark.root, pytest.mark.asyncio(loop_scope="module")]

rig = runtime_fixtures.rig

_MIB = 1024 * 1024
#: ioprio_get, sched_getattr, get_mempolicy. Source: asm/unistd_64.h, asm-generic/unistd.h.
_IOPRIO_GET, _SCHED_GETATTR, _GET_MEMPOLICY = {"aarch64": (31, 275, 236)}.get(
    os.uname().machine, (252, 315, 239)
)

_LOOK = f"""
import struct
attributes = ctypes.create_string_buffer(56)
assert call({_SCHED_GETATTR}, 0, attributes, 56, 0) == 0
_, policy, flags, nice, priority, *times = struct.unpack("=IIQiIQQQ", attributes.raw[:48])
times = times if policy == 6 else []  # a fair policy has its time slice there (Linux 6.12)
mode, nodes = ctypes.create_string_buffer(4), ctypes.create_string_buffer(128)
assert call({_GET_MEMPOLICY}, mode, nodes, 1024, None, 0) == 0
print(json.dumps({{
    "policy": policy, "flags": flags, "nice": nice, "priority": priority, "times": times,
    "io": call({_IOPRIO_GET}, 1, 0),
    "memory": int.from_bytes(mode.raw, "little"), "nodes": int.from_bytes(nodes.raw, "little"),
    "domain": open("/proc/sys/kernel/domainname").read().strip(),
}}))
"""


async def test_the_process_is_as_its_fields_say(rig: Rig) -> None:
    document = attacker(rig, _LOOK)
    document["domainname"] = "example.org"
    document["process"] |= {
        "scheduler": {"policy": "SCHED_BATCH", "nice": 7, "flags": ["SCHED_FLAG_RESET_ON_FORK"]},
        "ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 5},
    }
    document["linux"]["memoryPolicy"] = {
        "mode": "MPOL_BIND",
        "nodes": "0",
        "flags": ["MPOL_F_STATIC_NODES"],
    }
    found = findings(await rig.run(document))
    assert found == {
        "policy": 3,
        "flags": 1,
        "nice": 7,
        "priority": 0,
        "times": [],
        "io": 3 << 13 | 5,
        "memory": 2 | 1 << 15,
        "nodes": 1,
        "domain": "example.org",
    }


async def test_a_memory_policy_that_cannot_be_is_told_and_exec_has_the_containers(rig: Rig) -> None:
    document = config("true")
    document["linux"]["memoryPolicy"] = {"mode": "MPOL_BIND", "nodes": "1000"}
    with pytest.raises(RuntimeFault, match=r"linux\.memoryPolicy: .*nodes 1000"):
        await rig.create(document)
    document = attacker(rig, "sys.stdin.read()")
    document["linux"]["memoryPolicy"] = {"mode": "MPOL_INTERLEAVE", "nodes": "0"}
    monitor = await rig.create(document, open_stdin=True)
    await monitor.start()
    session = await monitor.exec_create("e", process=attacker(rig, _LOOK)["process"], open_stdin=False)
    stream = await session.attach(stdin=False, stdout=True, stderr=True)
    await session.start()
    found = json.loads((await stream.reader.read())[8:])
    stream.close()
    assert (found["memory"], found["nodes"]) == (3, 1)


def _allowed(**attributes: Any) -> bool:
    """Whether this machine lets its root do it."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(KernelFault):
            scheduling.sched_setattr(**attributes)
            os._exit(0)
        os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def _shares_real_time() -> bool:
    return "cpu" in layout().mounts and (layout().mounts["cpu"] / "cpu.rt_runtime_us").exists()


@pytest.mark.parametrize(
    "wanted",
    [
        {"policy": "SCHED_FIFO", "priority": 5},
        {"policy": "SCHED_RR", "priority": 6},
        {
            "policy": "SCHED_DEADLINE",
            "runtime": 1_000_000,
            "deadline": 50_000_000,
            "period": 100_000_000,
        },
    ],
)
async def test_realtime_and_deadline_reach_the_kernel(rig: Rig, wanted: dict[str, Any]) -> None:
    times = [wanted.get(name, 0) for name in ("runtime", "deadline", "period")]
    number, priority = POLICIES[wanted["policy"]], wanted.get("priority", 0)
    allowed = _allowed(
        policy=number,
        flags=0,
        nice=0,
        priority=priority,
        runtime_ns=times[0],
        deadline_ns=times[1],
        period_ns=times[2],
    )
    document = attacker(rig, _LOOK)
    document["process"]["scheduler"] = wanted
    # Where the kernel shares real time out by cgroup, a group has none before it is given some.
    if not allowed or (priority and _shares_real_time()):
        with pytest.raises(RuntimeFault, match=rf"process\.scheduler: .*policy {number}: "):
            await rig.create(document)
        return
    found = findings(await rig.run(document))
    assert (found["policy"], found["priority"]) == (number, priority)
    if any(times):
        assert found["times"] == times


async def test_a_terminal_begins_with_the_size_of_the_config(rig: Rig) -> None:
    document = config("stty", "size", terminal=True, consoleSize={"height": 33, "width": 77})
    assert (await rig.run(document, terminal=True)).stdout.split() == ["33", "77"]


def _sets(monitor: Monitor) -> dict[str, int]:
    lines = Path(f"/proc/{monitor.pid}/status").read_text().splitlines()
    return {line[3:6]: int(line.split()[1], 16) for line in lines if line.startswith("Cap")}


async def test_each_of_the_five_sets_is_what_it_is_said_to_be(rig: Rig) -> None:
    """At its gate the process has them as they were given; exec then makes of them what the kernel says."""
    chown, kill, setgid, setuid, net_raw = (1 << bit for bit in (0, 5, 6, 7, 13))
    wanted = {
        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_NET_RAW", "CAP_SETGID"],
        "permitted": ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID"],
        "effective": ["CAP_CHOWN"],
        "inheritable": ["CAP_KILL", "CAP_SETUID"],
        "ambient": ["CAP_KILL"],
    }
    process = {"capabilities": wanted, "user": {"uid": 1000, "gid": 1000}}
    monitor = await rig.create(config("sleep", "1000", **process))
    expected = {
        "Bnd": chown | kill | setuid | net_raw | setgid,
        "Prm": chown | kill | setuid,
        "Eff": chown,
        "Inh": kill | setuid,
        "Amb": kill,
    }
    assert _sets(monitor) == expected
    await monitor.start()
    assert _sets(monitor) == expected | {"Prm": kill, "Eff": kill}


async def test_every_rlimit_is_set(rig: Rig) -> None:
    kinds = {name: number for name, number in identity._RLIMITS.items() if number is not None}
    wanted = {}
    for name, number in kinds.items():
        hard = resource.getrlimit(number)[1]
        hard = 1 << 40 if hard == resource.RLIM_INFINITY else hard
        wanted[name] = [max(hard - 1, 0), hard]
    limits = [{"type": name, "soft": soft, "hard": hard} for name, (soft, hard) in wanted.items()]
    look = (
        "import resource\n"
        "print(json.dumps({n: resource.getrlimit(k) for n, k in json.loads(sys.argv[1]).items()}))"
    )
    assert findings(await rig.run(attacker(rig, look, json.dumps(kinds), rlimits=limits))) == wanted


_KINDS = {
    "ipc": "ipc", "network": "net", "uts": "uts", "pid": "pid", "mount": "mnt", "cgroup": "cgroup",
    "time": "time", "user": "user",
}  # fmt: skip


@pytest.fixture
def holder() -> Iterator[int]:
    """A process outside of every container with namespaces of its own, of every kind."""
    command = ["unshare", "-U", "--map-root-user", "-muinpCT", "--fork", "--kill-child", "--propagation"]
    with subprocess.Popen(
        [*command, "unchanged", "sh", "-c", "echo up; exec sleep 1000"], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        try:
            yield int(children)
        finally:
            process.kill()


@pytest.mark.parametrize("kind", _KINDS)
async def test_every_kind_of_namespace_is_joined_by_path(rig: Rig, holder: int, kind: str) -> None:
    place = f"/proc/{holder}/ns/{_KINDS[kind]}"
    document = config("readlink", f"/proc/self/ns/{_KINDS[kind]}")
    if kind == "uts":
        del document["hostname"]
    if kind == "user":
        maps = [{"containerID": 0, "hostID": 0, "size": 1}]
        document["linux"] |= {"uidMappings": maps, "gidMappings": maps}
        document = _only_root(document)
    document["linux"]["namespaces"] = [
        *(each for each in document["linux"]["namespaces"] if each["type"] != kind),
        {"type": kind, "path": place},
    ]
    output = await rig.run(document)
    assert output.stdout.strip() == str(Path(place).readlink()), output


def _only_root(document: dict[str, Any]) -> dict[str, Any]:
    """Less what needs another id than 0: a terminal's group."""
    for each in document["mounts"]:
        if each["type"] == "devpts":
            each["options"] = [word for word in each["options"] if not word.startswith("gid=")]
    return document


async def test_a_namespace_that_is_of_another_kind_or_not_there_is_told(rig: Rig) -> None:
    for path, words in (("/proc/self/ns/uts", "Invalid argument"), ("/proc/nobody/ns/net", "no network")):
        document = config("true")
        document["linux"]["namespaces"] = [
            {**each, "path": path} if each["type"] == "network" else each
            for each in document["linux"]["namespaces"]
        ]
        with pytest.raises(EngineError, match=words):
            await rig.create(document)


async def test_both_clocks_are_shifted_to_the_nanosecond(rig: Rig) -> None:
    document = config("cat", "/proc/self/timens_offsets")
    document["linux"]["namespaces"].append({"type": "time"})
    document["linux"]["timeOffsets"] = {
        "boottime": {"secs": 1000, "nanosecs": 3},
        "monotonic": {"secs": -1, "nanosecs": 999_999_999},
    }
    words = (await rig.run(document)).stdout.split()
    assert words == ["monotonic", "-1", "999999999", "boottime", "1000", "3"]


def _group(name: str, controller: str, file: str) -> str:
    return (layout().mounts[controller] / f"{CGROUP}/{name}".lstrip("/") / file).read_text().strip()


async def test_memory_nodes_are_bound(rig: Rig) -> None:
    document = config("grep", "Mems_allowed_list", "/proc/self/status")
    document["linux"]["resources"]["cpu"] = {"mems": "0"}
    assert (await rig.run(document)).stdout.split()[1] == "0"
    document["linux"]["resources"]["cpu"] = {"mems": "999"}
    with pytest.raises(EngineError, match=r"cpuset\.mems"):
        await rig.create(document)


async def test_soft_limits_of_memory_are_set(rig: Rig) -> None:
    if "memory" not in layout().mounts:
        pytest.skip("the memory controller of cgroup v1 is not mounted: see the plans of v2")
    document = config("sleep", "1000")
    document["linux"]["resources"]["memory"] = {"limit": 64 * _MIB, "reservation": 32 * _MIB}
    monitor = await rig.create(document)
    assert _group(monitor.container_id, "memory", "memory.soft_limit_in_bytes") == str(32 * _MIB)


# --- mount options ---


async def _mounted(rig: Rig, mounts: dict[str, dict[str, Any]]) -> dict[str, tuple[set[str], str, set[str]]]:
    """Where -> (options of the mount, propagation, options of the file system), as seen inside."""
    document = config("cat", "/proc/self/mountinfo")
    document["mounts"] += [{"destination": where, **each} for where, each in mounts.items()]
    found = {}
    for line in (await rig.run(document)).stdout.splitlines():
        ours, _, theirs = line.partition(" - ")
        words = ours.split()
        found[words[4]] = (set(words[5].split(",")), " ".join(words[6:]), set(theirs.split()[2].split(",")))
    return found


#: Word -> what mountinfo(5) shows for it; "": what is there then is not shown any more.
_SHOWN = {
    "ro": "ro", "nosuid": "nosuid", "nodev": "nodev", "noexec": "noexec", "nodiratime": "nodiratime",
    "nosymfollow": "nosymfollow", "noatime": "noatime", "relatime": "relatime", "strictatime": "",
    "rw": "", "suid": "", "dev": "", "exec": "", "diratime": "", "symfollow": "",
    "atime": "relatime", "norelatime": "relatime", "nostrictatime": "relatime",
}  # fmt: skip
#: What is set before, so that it can be seen to be taken away.
_BEFORE = {
    "strictatime": "relatime", "rw": "ro", "suid": "nosuid", "dev": "nodev", "exec": "noexec",
    "diratime": "nodiratime", "symfollow": "nosymfollow", "atime": "noatime",
    "nostrictatime": "strictatime",
}  # fmt: skip
_SUPERBLOCK = ("sync", "dirsync", "lazytime")


@contextlib.contextmanager
def _two_mounts(folder: Path) -> Iterator[Path]:
    """A shared mount that has another one below it; both are files of this machine's meanwhile."""
    below = folder / "below"
    subprocess.run(["mount", "-t", "tmpfs", "upper", str(folder)], check=True)
    try:
        below.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "lower", str(below)], check=True)
        subprocess.run(["mount", "--make-rshared", str(folder)], check=True)
        yield folder
    finally:
        subprocess.run(["umount", "-R", str(folder)], check=True)


async def test_every_mount_option_is_put_into_force(rig: Rig, tmp_path: Path) -> None:
    """Of a new file system, of a bind alone, and with an "r" before it of all that is below too."""
    mounts: dict[str, dict[str, Any]] = {}
    with _two_mounts(tmp_path) as source:
        for word in _SHOWN:
            options = [_BEFORE[word], word] if word in _BEFORE else [word]
            mounts[f"/new-{word}"] = {"type": "tmpfs", "source": "tmpfs", "options": options}
            mounts[f"/bind-{word}"] = bind(source, "", *options)
            before = [f"r{_BEFORE[word]}"] if word in _BEFORE else []
            mounts[f"/all-{word}"] = bind(source, "", *before, f"r{word}")
        for word in _SUPERBLOCK:
            mounts[f"/super-{word}"] = {"type": "tmpfs", "source": "tmpfs", "options": [word]}
        for each in mounts.values():
            each.pop("destination", None)
        found = await _mounted(rig, mounts)
    plain = {"rw", "relatime"}
    for word, shown in _SHOWN.items():
        gone = _BEFORE.get(word)
        for where in (f"/new-{word}", f"/bind-{word}", f"/all-{word}", f"/all-{word}/below"):
            options = found[where][0]
            assert not shown or shown in options, (where, options)
            assert gone is None or gone not in options, (where, options)
        assert found[f"/bind-{word}/below"][0] == plain, word
    for word in _SUPERBLOCK:
        assert word in found[f"/super-{word}"][2] | found[f"/super-{word}"][0]


async def test_every_propagation_is_that_of_the_mount(rig: Rig, tmp_path: Path) -> None:
    tags = {"shared": "shared:", "slave": "master:", "private": "", "unbindable": "unbindable"}
    with _two_mounts(tmp_path) as source:
        mounts = {f"/{word}": bind(source, "", word) for word in (*tags, *(f"r{word}" for word in tags))}
        for each in mounts.values():
            each.pop("destination")
        found = await _mounted(rig, mounts)
        # What the runtime moves about in there has not moved here.
        assert (source / "below").is_mount()
    for word, tag in tags.items():
        for where in (f"/{word}", f"/r{word}", f"/r{word}/below"):
            said = found[where][1]
            assert tag in said if tag else said == "", (where, said)


async def test_an_id_mapping_is_for_the_mounts_below_only_when_it_is_said(rig: Rig, tmp_path: Path) -> None:
    shift = [{"containerID": 0, "hostID": 7, "size": 1}]
    with _two_mounts(tmp_path) as source:
        document = config("stat", "-c", "%u:%g", "/i", "/i/below", "/r", "/r/below")
        document["process"]["args"] = ["ls", "-lnd", "/i", "/i/below", "/r", "/r/below"]
        for where, word in (("/i", "idmap"), ("/r", "ridmap")):
            document["mounts"].append(
                bind(source, where, word) | {"uidMappings": shift, "gidMappings": shift}
            )
        lines = (await rig.run(document)).stdout.splitlines()
    assert [line.split()[2] for line in lines] == ["7", "0", "7", "7"]
