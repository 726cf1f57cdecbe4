"""What system calls a container can make: attempts from inside, with and without the filter."""

import contextlib
import errno
import fcntl
import json
import platform
import signal
import socket
import struct
import threading
from pathlib import Path
from typing import Any

import pytest
import runtime_fixtures
from runtime_rig import Rig, config
from security_rig import attacker, docker_default, findings

from wherryd.errors import InvalidParameter, RuntimeFault

pytestmark = [
    pytest.mark.root,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="system calls are named by x86_64 numbers"),
]

rig = runtime_fixtures.rig

AF_INET, AF_ALG, AF_VSOCK = 2, 38, 40
CLONE_NEWUSER, SIGCHLD = 0x10000000, 17
# asm/unistd_64.h
SOCKET, CLONE, MKDIR, PERSONALITY, MOUNT = 41, 56, 83, 135, 165
KEYCTL, UNSHARE, BPF, USERFAULTFD, IO_URING_SETUP, CLONE3 = 250, 272, 321, 323, 425, 435
UNKNOWN = 4000

ATTEMPTS = f"""
cloned = call({CLONE}, {CLONE_NEWUSER | SIGCHLD}, 0, 0, 0, 0)
if cloned == 0:
    os._exit(0)
print(json.dumps({{
    "inet": call({SOCKET}, {AF_INET}, 1, 0),
    "alg": call({SOCKET}, {AF_ALG}, 5, 0),
    "alg, upper half set": call({SOCKET}, {1 << 32 | AF_ALG}, 5, 0),
    "vsock": call({SOCKET}, {AF_VSOCK}, 1, 0),
    "clone into a user namespace": cloned,
    "clone3": call({CLONE3}, 0, 0),
    "unshare": call({UNSHARE}, {CLONE_NEWUSER}),
    "mount": call({MOUNT}, b"none", b"/tmp", b"tmpfs", 0, None),
    "keyctl": call({KEYCTL}, 0, -3, 0),
    "bpf": call({BPF}, 0, 0, 0),
    "userfaultfd": call({USERFAULTFD}, 0),
    "io_uring": call({IO_URING_SETUP}, 1, None),
    "personality": call({PERSONALITY}, 0x40000),
    "unknown": call({UNKNOWN}),
}}))
"""


async def test_the_default_filter_refuses_what_dockers_refuses(rig: Rig) -> None:
    found = findings(await rig.run(attacker(rig, ATTEMPTS, seccomp=docker_default())))
    assert found.pop("inet") >= 0
    assert found.pop("clone3") == found.pop("unknown") == -errno.ENOSYS
    assert set(found.values()) == {-errno.EPERM}, found


async def test_without_the_filter_the_attempts_reach_the_kernel(rig: Rig) -> None:
    """So the test above bites: what it sees refused is refused by the filter."""
    found = findings(await rig.run(attacker(rig, ATTEMPTS)))
    # Not bpf and mount: those want a capability that the container does not have.
    for name in ("alg", "alg, upper half set", "clone into a user namespace", "keyctl", "io_uring"):
        assert found[name] != -errno.EPERM, (name, found)
    assert found["clone3"] == -errno.EINVAL
    assert found["personality"] >= 0


async def test_a_32_bit_call_does_not_get_around_the_filter(rig: Rig) -> None:
    """socket is 359, and 1 of socketcall (102), for int 0x80; what socketcall opens no filter can see."""
    program = f"""
import mmap
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
# push rbx; mov eax, edi; mov ebx, esi; xchg ecx, edx; int 0x80; pop rbx; ret
page.write(bytes.fromhex("53 89f8 89f3 87d1 cd80 5b c3"))
low = libc.mmap; low.restype = ctypes.c_void_p
low.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
arguments = low(None, 4096, 3, 0x22 | 0x40, -1, 0)  # MAP_32BIT: int 0x80 passes 32 bits of the address
ctypes.memmove(arguments, b"".join(n.to_bytes(4, "little") for n in ({AF_VSOCK}, 1, 0)), 12)
prototype = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_int] * 4)
call32 = prototype(ctypes.addressof(ctypes.c_char.from_buffer(page)))
print(json.dumps({{
    "getpid": call32(20, 0, 0, 0),
    "inet": call32(359, {AF_INET}, 1, 0),
    "vsock": call32(359, {AF_VSOCK}, 1, 0),
    "vsock by socketcall": call32(102, 1, arguments, 0),
}}))
"""
    try:
        found = findings(await rig.run(attacker(rig, program)))
    except AssertionError:
        pytest.skip("this kernel runs no 32-bit calls")
    assert found["getpid"] == 1
    assert found["vsock by socketcall"] != -errno.ENOSYS
    found = findings(await rig.run(attacker(rig, program, seccomp=docker_default())))
    assert found["getpid"] == 1
    assert found["inet"] >= 0
    assert found["vsock"] == -errno.EPERM
    assert found["vsock by socketcall"] == -errno.ENOSYS


async def test_a_filtered_container_keeps_no_power_that_installing_took(rig: Rig) -> None:
    for user in ({"uid": 0, "gid": 0}, {"uid": 101, "gid": 102}):
        for quiet in (False, True):
            document = config("grep", "-E", "Cap|Seccomp:|NoNew", "/proc/self/status", user=user)
            document["process"]["noNewPrivileges"] = quiet
            if user["uid"]:
                document["process"]["capabilities"] |= {"effective": [], "permitted": []}
            document["linux"]["seccomp"] = docker_default()
            words = (await rig.run(document)).stdout.split()
            status = dict(zip(words[::2], words[1::2], strict=True))
            expected = "00000000a80425fb" if user["uid"] == 0 else "0" * 16
            assert status["CapEff:"] == status["CapPrm:"] == expected
            assert (status["Seccomp:"], status["NoNewPrivs:"]) == ("2", str(int(quiet)))
            assert int(status["CapInh:"], 16) == int(status["CapAmb:"], 16) == 0


async def test_exec_is_filtered_as_the_container_is(rig: Rig) -> None:
    document = config("sleep", "1000")
    document["linux"]["seccomp"] = docker_default()
    monitor = await rig.create(document)
    await monitor.start()
    process = config("sh", "-c", "grep Seccomp: /proc/self/status; unshare -U true")["process"]
    session = await monitor.exec_create("e1", process=process, open_stdin=False)
    stream = await session.attach(stdin=False, stdout=True, stderr=True)
    await session.start()
    output = await stream.reader.read()
    stream.close()
    assert b"2\n" in output
    assert b"Operation not permitted" in output
    assert (await session.wait()).exit_code != 0


def _rule(action: str, *names: str, **more: Any) -> dict[str, Any]:
    return {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": list(names), "action": action, **more}]}


@pytest.mark.parametrize(
    ("action", "errno_ret", "code"),
    [
        ("SCMP_ACT_ERRNO", None, errno.EPERM),
        ("SCMP_ACT_ERRNO", errno.ENOMEDIUM, errno.ENOMEDIUM),
        ("SCMP_ACT_TRACE", None, errno.ENOSYS),  # without a tracer
        ("SCMP_ACT_LOG", None, 0),
        ("SCMP_ACT_ALLOW", None, 0),
        ("SCMP_ACT_KILL", None, 128 + signal.SIGSYS),
        ("SCMP_ACT_KILL_THREAD", None, 128 + signal.SIGSYS),
        ("SCMP_ACT_KILL_PROCESS", None, 128 + signal.SIGSYS),
        ("SCMP_ACT_TRAP", None, 128 + signal.SIGSYS),
    ],
)
async def test_every_action_does_what_it_says(
    rig: Rig, action: str, errno_ret: int | None, code: int
) -> None:
    more = {} if errno_ret is None else {"errnoRet": errno_ret}
    document = attacker(
        rig, f"sys.exit(-call({MKDIR}, b'/tmp/d', 0o755))", seccomp=_rule(action, "mkdir", **more)
    )
    assert (await rig.run(document)).status.exit_code == code


@pytest.mark.parametrize(
    ("operator", "value", "second", "refused"),
    [
        ("SCMP_CMP_EQ", 8, 0, {8}),
        ("SCMP_CMP_NE", 8, 0, {0, 0x20000}),
        ("SCMP_CMP_LT", 8, 0, {0}),
        ("SCMP_CMP_LE", 8, 0, {0, 8}),
        ("SCMP_CMP_GT", 8, 0, {0x20000}),
        ("SCMP_CMP_GE", 8, 0, {8, 0x20000}),
        ("SCMP_CMP_MASKED_EQ", 0x20008, 8, {8}),
    ],
)
async def test_every_comparison_of_an_argument_decides(
    rig: Rig, operator: str, value: int, second: int, refused: set[int]
) -> None:
    comparison = {"index": 0, "value": value, "valueTwo": second, "op": operator}
    rule = _rule("SCMP_ACT_ERRNO", "personality", args=[comparison], errnoRet=errno.ENOMEDIUM)
    program = (
        f"print(json.dumps([v for v in (0, 8, 0x20000) if call({PERSONALITY}, v) == -{errno.ENOMEDIUM}]))"
    )
    assert set(findings(await rig.run(attacker(rig, program, seccomp=rule)))) == refused


async def test_several_comparisons_of_one_argument_are_alternatives(rig: Rig) -> None:
    comparisons = [{"index": 0, "value": each, "op": "SCMP_CMP_EQ"} for each in (0, 8)]
    rule = _rule("SCMP_ACT_ERRNO", "personality", args=comparisons)
    program = f"print(json.dumps([call({PERSONALITY}, v) for v in (0, 8, 0x20000)]))"
    first, second, third = findings(await rig.run(attacker(rig, program, seccomp=rule)))
    assert (first, second) == (-errno.EPERM, -errno.EPERM)
    assert third >= 0


async def test_a_call_of_an_architecture_that_is_not_listed_kills(rig: Rig) -> None:
    rule = _rule("SCMP_ACT_ERRNO", "mkdir") | {"architectures": ["SCMP_ARCH_AARCH64"]}
    assert (await rig.run(config("true") | {"linux": _with(rule)})).status.exit_code == 128 + signal.SIGSYS


def _with(rule: dict[str, Any]) -> dict[str, Any]:
    return {**config("true")["linux"], "seccomp": rule}


async def test_the_kernels_flags_are_taken(rig: Rig) -> None:
    rule = _rule("SCMP_ACT_ERRNO", "mkdir") | {
        "flags": ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"]
    }
    assert (await rig.run(config("mkdir", "/tmp/d") | {"linux": _with(rule)})).status.exit_code == 1


class Agent:
    """Listens at a path, takes one container's listener, and answers each notice with an errno."""

    def __init__(self, path: Path) -> None:
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(str(path))
        self.server.listen()
        self.server.settimeout(60)
        self.state: dict[str, Any] = {}
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        with contextlib.closing(self.server):
            connection, _ = self.server.accept()
        with connection:
            data, fds, _, _ = socket.recv_fds(connection, 65536, 1)
        self.state = json.loads(data)
        # linux/seccomp.h: struct seccomp_notif has 80 bytes, struct seccomp_notif_resp 24
        notice = bytearray(80)
        fcntl.ioctl(fds[0], 0xC0502100, notice)
        (identity,) = struct.unpack_from("=Q", notice)
        fcntl.ioctl(fds[0], 0xC0182101, bytearray(struct.pack("=QqiI", identity, 0, -errno.ENOMEDIUM, 0)))


@pytest.mark.parametrize("flags", [[], ["SECCOMP_FILTER_FLAG_TSYNC"]])
async def test_notify_hands_the_listener_and_the_state_to_the_agent(rig: Rig, flags: list[str]) -> None:
    path = rig.base / f"agent{len(flags)}.sock"
    agent = Agent(path)
    rule = _rule("SCMP_ACT_NOTIFY", "mkdir") | {
        "listenerPath": str(path), "listenerMetadata": "hello", "flags": flags,
    }  # fmt: skip
    document = attacker(rig, f"sys.exit(-call({MKDIR}, b'/tmp/d', 0o755))", seccomp=rule)
    document["annotations"] = {"org.example": "yes"}
    monitor = await rig.create(document)
    await monitor.start()
    assert (await monitor.wait()).exit_code == errno.ENOMEDIUM
    agent.thread.join(60)
    assert agent.state["fds"] == ["seccompFd"]
    assert agent.state["metadata"] == "hello"
    assert agent.state["pid"] == agent.state["state"]["pid"] == monitor.pid
    assert agent.state["state"]["id"] == monitor.container_id
    assert agent.state["state"]["annotations"] == {"org.example": "yes"}


async def test_an_agent_that_is_not_there_fails_the_create(rig: Rig) -> None:
    rule = _rule("SCMP_ACT_NOTIFY", "mkdir") | {"listenerPath": "/nonexistent.sock"}
    with pytest.raises(RuntimeFault, match="listenerPath /nonexistent.sock"):
        await rig.create(config("true") | {"linux": _with(rule)})


@pytest.mark.parametrize(
    ("filter_", "words"),
    [
        ({"defaultAction": "SCMP_ACT_MAYBE"}, "defaultAction"),
        ({"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/x"}, "cannot be the default"),
        (_rule("SCMP_ACT_NOTIFY", "sendmsg") | {"listenerPath": "/x"}, "not possible for sendmsg"),
        (_rule("SCMP_ACT_NOTIFY", "mkdir"), "listenerPath"),
        (_rule("SCMP_ACT_ERRNO"), "must name at least one system call"),
        (_rule("SCMP_ACT_ERRNO", "mkdir", args=[{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]), "index"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["Z80"]}, "architectures"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["FAST"]}, "flags"),
    ],
)
async def test_a_filter_that_cannot_be_is_refused(rig: Rig, filter_: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidParameter, match=words):
        await rig.create(config("true") | {"linux": _with(filter_)})


async def test_a_filter_is_compiled_once_and_a_broken_copy_is_made_again(rig: Rig) -> None:
    cache = rig.exec_root / "seccomp"
    rule = _rule("SCMP_ACT_ERRNO", "mkdir", errnoRet=errno.EXDEV)
    document = config("mkdir", "/tmp/d") | {"linux": _with(rule)}
    before = set(cache.iterdir()) if cache.exists() else set()
    await rig.run(document)
    (made,) = set(cache.iterdir()) - before
    stamp, content = made.stat().st_mtime_ns, made.read_bytes()
    await rig.run(document)
    assert made.stat().st_mtime_ns == stamp
    assert cache.stat().st_mode & 0o777 == 0o700
    made.write_bytes(b"")
    assert "Invalid cross-device link" in (await rig.run(document)).stderr
    assert made.read_bytes() == content
    # What somebody else could have written is not used.
    made.write_bytes(struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000))
    made.chmod(0o666)
    assert "Invalid cross-device link" in (await rig.run(document)).stderr
