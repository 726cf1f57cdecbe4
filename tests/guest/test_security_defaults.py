"""What a plain container gets, beside what dockerd gives it: the same, or a difference with its reason."""

import json
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from builder_rig import DockerDaemon, docker_daemon
from native_engine import NativeEngine

from wherryd.spec import defaults

pytestmark = pytest.mark.root

_PROBE = r"""
grep -E '^(Cap|NoNewPrivs|Seccomp:|Uid|Gid|Groups)' /proc/self/status
echo == limits; cat /proc/self/limits
echo == mounts; sed 's/ - / /' /proc/self/mountinfo
echo == nodes; cd /dev; ls -l | sed 's/  */ /g' | cut -d' ' -f1,3-6,10-
echo == devices; cat /sys/fs/cgroup/devices/devices.list
echo == pids; cat /sys/fs/cgroup/pids/pids.max
echo == sysctls
for name in net/ipv4/ip_unprivileged_port_start net/ipv4/ping_group_range net/ipv4/ip_forward \
    kernel/shmmax kernel/msgmax kernel/sem kernel/core_pattern; do echo $name $(cat /proc/sys/$name); done
echo == process; umask; pwd; cat /proc/self/oom_score_adj /proc/self/coredump_filter
env | cut -d= -f1 | sort
for kind in mnt pid net uts ipc; do readlink /proc/self/ns/$kind; done
"""


@pytest.fixture(scope="module")
def daemon() -> Iterator[DockerDaemon]:
    if shutil.which("dockerd") is None or shutil.which("docker") is None:
        pytest.skip("needs dockerd and docker (scripts/setup.sh dev)")
    with docker_daemon() as started:
        yield started


def probed(socket: Path, *options: str) -> dict[str, list[str]]:
    """Section -> its lines."""
    command = ["docker", "-H", f"unix://{socket}", "run", "--rm", "--network", "none", *options]
    done = subprocess.run(
        [*command, "busybox:test", "sh", "-c", _PROBE],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found: dict[str, list[str]] = {"status": []}
    lines = found["status"]
    for line in done.stdout.splitlines():
        if line.startswith("== "):
            lines = found.setdefault(line[3:], [])
        else:
            lines.append(line)
    return found


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--user", "1000"),
        ("--user", "user:extra", "--group-add", "77"),
        ("--cap-drop", "ALL", "--cap-add", "NET_RAW", "--security-opt", "no-new-privileges"),
        ("--privileged", "--user", "1000"),
        ("--security-opt", "seccomp=unconfined", "--ulimit", "core=0", "--ulimit", "nofile=100:200"),
        ("--oom-score-adj", "100", "--workdir", "/tmp", "--read-only", "--shm-size", "1m"),
    ],
)
def test_a_container_has_what_docker_gives(
    engine: NativeEngine, daemon: DockerDaemon, options: tuple[str, ...]
) -> None:
    own_ids = probed(engine.socket, *options)
    # dockerd has the host's ids here, so the whole is compared with ours that has them too.
    options = ("--userns", "host", *options)
    ours, theirs = probed(engine.socket, *options), probed(daemon.socket, *options)
    if "--privileged" in options:  # the engines themselves may have more
        for each in (own_ids, ours, theirs):
            each["status"] = [line for line in each["status"] if not line.startswith("CapBnd")]
            each["devices"] = each["nodes"] = []
    for section in ("status", "limits", "sysctls", "nodes"):
        assert ours[section] == theirs[section], section
    for section in ("status", "limits"):
        assert own_ids[section] == theirs[section], section
    assert own_ids["process"][:-5] == theirs["process"][:-5]
    # The kinds of namespaces are new ones in both.
    assert ours["process"][:-5] == theirs["process"][:-5]
    host = {str(Path("/proc/self/ns", kind).readlink()) for kind in ("mnt", "pid", "net", "uts", "ipc")}
    assert not host & set(ours["process"])
    assert devices(ours) == devices(theirs)
    compare_mounts(ours["mounts"], theirs["mounts"])


def devices(found: dict[str, list[str]]) -> set[str]:
    """The rules of the device group. Docker's runc of that time also allowed /dev/net/tun."""
    return set(found["devices"]) - {"c 10:200 rwm"}


#: Docker's at that time covered less: GHSA-jq35-85cj-fj4p and GHSA-6fw5-f8r9-fgfm came later.
_MASKED_SINCE = {"/proc/interrupts", "/sys/devices/virtual/powercap"}
#: Its cgroup mounts are a matter of which hierarchies there are.
_CGROUPS = "/sys/fs/cgroup/"


def mounts(lines: list[str]) -> dict[str, tuple[str, frozenset[str]]]:
    """Where -> (file system, options of the mount). Source: proc(5), mountinfo; " - " has been taken out."""
    found = {}
    for line in lines:
        words = [word for word in line.split() if not re.match(r"(master|shared):", word)]
        found[words[4]] = (words[6], frozenset(words[5].split(",")) - {"relatime"})
    return {where: each for where, each in found.items() if not where.startswith(_CGROUPS)}


def compare_mounts(our_lines: list[str], their_lines: list[str]) -> None:
    ours, theirs = mounts(our_lines), mounts(their_lines)
    assert ours.keys() - _MASKED_SINCE == theirs.keys()
    for where, (kind, options) in theirs.items():
        our_kind, our_options = ours[where]
        if kind == "tmpfs" and "/null " in next(line for line in their_lines if f" {where} " in line):
            # A mask: theirs is the container's null device, ours the host's, by a mount that is read-only.
            assert our_options == {"ro", "nosuid"}, where
        elif where == "/sys/fs/cgroup":
            assert our_options >= options - {"rw"}, where  # ours is read-only already
        else:
            assert (our_kind, our_options) == (kind, options), where


def test_docker_has_no_limit_of_processes_and_we_have(engine: NativeEngine, daemon: DockerDaemon) -> None:
    assert probed(daemon.socket)["pids"] == ["max"]
    assert probed(engine.socket)["pids"] == [str(defaults.PIDS_LIMIT)]
    assert probed(engine.socket, "--pids-limit", "100")["pids"] == ["100"]
    assert probed(engine.socket, "--pids-limit", "-1")["pids"] == ["max"]


#: Each call by its number, with arguments that fit nothing, in a child of its own. What is refused by the
#: filter is EPERM, or ENOSYS; the rest is whatever the kernel says, or how the child ended.
_EVERY_CALL = """
import ctypes, json, os, signal
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
found = {}
for number in [each for each in range(0, 470) if each not in (58,)]:  # vfork shares our memory
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(1)
        me = os.getpid()
        got = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(-1)] * 6)
        if os.getpid() != me:
            os._exit(0)
        os.write(write, str(ctypes.get_errno() if got == -1 else 0).encode())
        os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    found[number] = os.read(read, 16).decode() if number else ""
    os.close(read)
print(json.dumps(found))
"""


#: Number -> call, where Docker's profile has changed since 20.10. Ours is today's.
_SINCE = {
    41: "socket: by families that are allowed, AF_ALG and AF_VSOCK not among them",
    425: "io_uring_setup",
    426: "io_uring_enter",
    427: "io_uring_register",
    450: "set_mempolicy_home_node",
    303: "name_to_handle_at",
    310: "process_vm_readv",
    311: "process_vm_writev",
    329: "pkey_mprotect",
    330: "pkey_alloc",
    331: "pkey_free",
}
_STRICTER = {41, 425, 426, 427, 450}


def filtered(socket: Path, *options: str) -> set[int]:
    """System calls of x86_64 that end with EPERM."""
    binds = ("-v", "/usr:/usr:ro", "-v", "/usr/lib:/lib:ro", "-v", "/usr/lib64:/lib64:ro")
    command = ["docker", "-H", f"unix://{socket}", "run", "--rm", "--network", "none", *binds, *options]
    done = subprocess.run(
        [*command, "busybox:test", "/usr/bin/python3", "-I", "-S", "-c", _EVERY_CALL],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return {int(number) for number, said in json.loads(done.stdout).items() if said == "1"}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="system calls are named by x86_64 numbers")
def test_the_filter_is_dockers_call_by_call(engine: NativeEngine, daemon: DockerDaemon) -> None:
    """Every number is tried in both; the differences are those between that dockerd's profile and today's."""
    ours, theirs = filtered(engine.socket, "--userns", "host"), filtered(daemon.socket)
    assert len(ours & theirs) > 100  # the table is not empty, and mostly the same
    assert {_SINCE.get(number, f"number {number}") for number in ours ^ theirs} <= set(_SINCE.values())
    assert ours - theirs <= _STRICTER, ours - theirs
