"""What our own process opens, holds and hands down while it is inside a container's root."""

import asyncio
import contextlib
import ctypes
import json
import os
import select
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import runtime_fixtures
from runtime_rig import CGROUP, Rig, config, is_alive, plain_io, read_until
from security_rig import IDS, attacker, by_command, docker_default, findings, with_ids

from wherryd.errors import EngineError
from wherryd.runtime.client import RuntimeClient
from wherryd.sys import inotify

pytestmark = [pytest.mark.root, pytest.mark.asyncio(loop_scope="module")]

rig = runtime_fixtures.rig


# --- the files of the image ---

_IN_OPEN = 0x020


class Watch:
    """What below a root was opened, files and folders, by anybody. An O_PATH descriptor does not count."""

    def __init__(self, root: Path) -> None:
        self._fd = inotify.inotify_init1()
        self._root = root
        self._folders: dict[int, str] = {}
        for folder, _, _ in os.walk(root):
            number = inotify.inotify_add_watch(self._fd, folder, _IN_OPEN)
            self._folders[number] = str(Path(folder).relative_to(root))
        self.seen()  # what our own walk has opened

    def seen(self) -> set[str]:
        """Since the last call, relative to the root."""
        found = set()
        while select.select([self._fd], [], [], 0)[0]:
            data = os.read(self._fd, 1 << 16)
            offset = 0
            while offset < len(data):
                number, _, _, length = inotify._HEADER.unpack_from(data, offset)
                start = offset + inotify._HEADER.size
                name = data[start : start + length].rstrip(b"\0").decode()
                offset = start + length
                found.add(str(Path(self._folders[number], name)))
        return found

    def close(self) -> None:
        os.close(self._fd)


def _full_of_traps(rig: Rig, folder: Path) -> Path:
    """A root that has, wherever our interpreter or libc would look, files of its own."""
    root = folder / "rootfs"
    shutil.copytree(rig.base / "image", root, symlinks=True)
    for place in {Path(each) for each in sys.path if each.startswith("/")}:
        # A look for a module opens the folder first.
        (root / str(place).lstrip("/")).mkdir(parents=True, exist_ok=True)
    inside = root / str(Path(os.__file__).parent).lstrip("/")
    for name in sys.stdlib_module_names:
        (inside / f"{name}.py").write_text("raise SystemExit('loaded from the image')\n")
    (inside / "encodings").mkdir()
    for name in ("__init__", "idna", "punycode", "aliases", "utf_8", "latin_1", "charmap"):
        (inside / "encodings" / f"{name}.py").write_text("raise SystemExit('loaded from the image')\n")
    for place in ("lib", "lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu/gconv", "lib64"):
        inside = root / place
        inside.mkdir(parents=True, exist_ok=True)
        for name in ("libnss_files.so.2", "libgcc_s.so.1", "libc.so.6", "libseccomp.so.2", "gconv-modules"):
            (inside / name).write_bytes(b"\x7fELF")
    for name in ("etc/nsswitch.conf", "etc/ld.so.cache", "etc/ld.so.preload", "etc/localtime", "etc/python3"):
        (root / name).write_bytes(b"trap")
    return root


async def _settled(watch: Watch) -> set[str]:
    await asyncio.sleep(0.05)
    return watch.seen()


@contextlib.contextmanager
def _trapped(rig: Rig, document: dict[str, Any]) -> Iterator[tuple[str, Watch]]:
    """(name of the bundle, the watch on its root); without layers, so that every opening is seen."""
    name = rig.name()
    bundle = rig.base / name
    bundle.mkdir()
    root = _full_of_traps(rig, bundle)
    document["linux"]["cgroupsPath"] = f"{CGROUP}/{name}"
    (bundle / "config.json").write_text(json.dumps(document))
    watch = Watch(root)
    try:
        yield name, watch
    finally:
        watch.close()


@pytest.mark.parametrize("terminal", [False, True])
async def test_nothing_of_the_image_is_opened_but_what_must_be(rig: Rig, terminal: bool) -> None:
    """Row 8, CVE-2019-14271, rules 1, 7 and 8: until the program is executed our process opens the image's
    passwd and group as plain files, and nothing it could load; at create, at exec, and when those fail."""
    document = config("sleep", "1000", terminal=terminal, user={"uid": 0, "gid": 0, "username": "my:extra"})
    document["linux"]["seccomp"] = docker_default()
    with _trapped(rig, document) as (name, watch):
        bundle = rig.base / name
        io = plain_io() if not terminal else replace(plain_io(), terminal=True)
        monitor = await rig.client.create(name, bundle=bundle, rootfs=[], io=io)
        rig.monitors.append(monitor)
        allowed = {"etc/passwd", "etc/group"}
        program = {"bin/busybox", "bin/sleep"}
        assert await _settled(watch) <= allowed | program
        await monitor.start()
        assert await _settled(watch) <= program
        for number, (command, extra) in enumerate(
            (
                (("sleep", "0"), {"user": {"uid": 0, "gid": 0, "username": "my"}}),
                (("sleep", "0"), {"terminal": True}),
                (("/no/such",), {}),
                (("/etc/passwd",), {}),
                (("/bin/nointerpreter",), {}),
                (("sleep", "0"), {"user": {"uid": 0, "gid": 0, "username": "nobody-of-that-name"}}),
                (("sleep", "0"), {"cwd": "/proc/self/fd/3"}),
                (("sleep", "0"), {"cwd": "/\u00fcnic\u00f6de-\udcff"}),
                (("\udcff\u00e9",), {}),
            )
        ):
            process = config(*command, **extra)["process"]
            session = await monitor.exec_create(f"e{number}", process=process, open_stdin=False)
            with contextlib.suppress(EngineError):
                await session.start()
                await session.wait()
            assert await _settled(watch) <= allowed | program | {"bin/nointerpreter"}, command
        await monitor.kill(9)
        await monitor.wait()
        await monitor.delete()


async def test_the_watch_sees_a_module_that_is_loaded_late(rig: Rig) -> None:
    """Weakened: one import after the root was entered. It runs what the image has in its place."""
    document = config("true")
    with _trapped(rig, document) as (name, watch):
        weaken = (
            f"import sys; sys.argv[sys.argv.index('-b') + 1] = {str(rig.base / name)!r}\n"
            f"sys.orig_argv[sys.orig_argv.index('-b') + 1] = {str(rig.base / name)!r}\n"
            "from wherryd.runtime import identity\n"
            "def late():\n    import this\n"
            "identity.check_cwd = late\n"
        )
        done = await asyncio.to_thread(by_command, rig, document, weaken)
        assert "loaded from the image" in done.stderr, done
        assert [each for each in watch.seen() if each.endswith("/this.py")]


# --- descriptors at the gate ---


@pytest.mark.parametrize("ids", IDS)
async def test_at_the_gate_no_folder_of_the_host_is_held(rig: Rig, ids: str) -> None:
    """Row 2, rule 2: what waits to become the program, already inside, holds its streams, its end of the talk
    with its parent, and nothing that leads anywhere."""
    document = with_ids(config("sleep", "1000"), ids)
    document["linux"]["seccomp"] = docker_default()
    monitor = await rig.create(document, open_stdin=True)
    held = {str(each.readlink()) for each in Path(f"/proc/{monitor.pid}/fd").iterdir()}
    assert {each.partition(":")[0] for each in held} <= {"pipe", "socket"}, held
    assert len([each for each in held if each.startswith("socket")]) == 1
    status = Path(f"/proc/{monitor.pid}/status").read_text()
    assert "CoreDumping:\t0" in status
    assert os.readlink(f"/proc/{monitor.pid}/cwd") == "/"  # noqa: PTH115
    await monitor.delete()


# --- keys ---

_SESSION = -3


def _syscall(number: int, *arguments: Any) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return int(libc.syscall(ctypes.c_long(number), *arguments))


_FIND_KEY = """
print(json.dumps(call(250, 10, -3, b"user", b"wherry-canary", 0)))  # KEYCTL_SEARCH of the session keyring
"""


@pytest.fixture
def secret_key() -> Iterator[int]:
    """A key in this process's session keyring, which the engine's processes inherit."""
    key = _syscall(248, b"user", b"wherry-canary", b"secret", ctypes.c_size_t(6), ctypes.c_long(_SESSION))
    if key < 0:
        pytest.skip("this kernel or this machine has no keyrings")
    yield key
    _syscall(250, ctypes.c_long(9), ctypes.c_long(key), ctypes.c_long(_SESSION))  # KEYCTL_UNLINK


@pytest.mark.parametrize("ids", IDS)
async def test_the_engines_keys_are_not_handed_down(rig: Rig, secret_key: int, ids: str) -> None:
    """The session keyring is inherited over fork and exec; a container without a filter could read it."""
    client = RuntimeClient(exec_root=rig.exec_root)
    await client.open()
    kept, rig.client = rig.client, client
    try:
        found = findings(await rig.run(with_ids(attacker(rig, _FIND_KEY), ids)))
        assert found < 0
        monitor = await rig.create(with_ids(attacker(rig, "sys.stdin.read()"), ids), open_stdin=True)
        await monitor.start()
        process = attacker(rig, _FIND_KEY)["process"]
        session = await monitor.exec_create("key", process=process, open_stdin=False)
        stream = await session.attach(stdin=False, stdout=True, stderr=True)
        await session.start()
        assert b"-" in await read_until(stream, b"\n")
        stream.close()
        await monitor.kill(9)
        await monitor.wait()
        await monitor.delete()
    finally:
        rig.client = kept
        await client.close()
    weaken = "from wherryd.sys import keyring\nkeyring.join_new_session_keyring = lambda: None\n"
    if ids == "host-ids":
        # Not in a thread of the pool: each thread has a session keyring of its own.
        assert findings(by_command(rig, attacker(rig, _FIND_KEY), weaken)) == secret_key


# --- a container that works against an exec ---

_STOPPER = """
import signal
print("up", flush=True)
me = os.getpid()
stopped = set()
while True:
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != me and name not in stopped:
            try:
                os.kill(int(name), signal.SIGSTOP)
                stopped.add(name)
            except OSError:
                pass
"""


async def test_a_container_that_stops_entering_processes_holds_up_nobody(rig: Rig) -> None:
    """Row 24: it sends SIGSTOP to whatever appears, so that exec never comes to its end. Its monitor still
    answers, logs go on, and it can be killed at once."""
    monitor = await rig.create(attacker(rig, _STOPPER))
    stream = await monitor.attach(stdin=False, stdout=True, stderr=True)
    await monitor.start()
    await read_until(stream, b"up")
    starts = []
    for number in range(5):
        process = config("true")["process"]
        session = await monitor.exec_create(f"s{number}", process=process, open_stdin=False)
        starts.append(asyncio.ensure_future(session.start()))
    async with asyncio.timeout(5):
        await monitor.pids()
        another = await monitor.attach(stdin=False, stdout=True, stderr=True)
        another.close()
        await monitor.kill(9)
        assert (await monitor.wait()).exit_code == 137
        outcomes = await asyncio.gather(*starts, return_exceptions=True)
    assert all(isinstance(each, int | EngineError) for each in outcomes), outcomes
    stream.close()
    await monitor.delete()
    assert not is_alive(monitor.pid)
