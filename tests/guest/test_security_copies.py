"""Attacks by a container on whoever copies files in and out of it."""

import contextlib
import http.client
import os
import sys
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import archive_rig as rig
import pytest
from native_engine import NativeEngine
from security_rig import PRELUDE

pytestmark = pytest.mark.root

#: More are tried by hand: WHERRY_ATTACK_ROUNDS=200.
ROUNDS = int(os.environ.get("WHERRY_ATTACK_ROUNDS", "6"))
CANARY = b"wherry-canary-of-the-host"
#: Root inside is the host's root, or is nobody there.
USERNS = ("host", "")

_SWAP = (
    PRELUDE
    + """
print("up", flush=True)
while True:
    call(316, -100, b"/data/d", -100, b"/data/link", 2)  # renameat2(RENAME_EXCHANGE)
"""
)


@contextmanager
def swapped(engine: NativeEngine, data: Path, outside: Path, userns: str) -> Iterator[str]:
    """A container that exchanges the folder /data/d and a link to outside all the time."""
    (data / "d").mkdir()
    (data / "d/file").write_bytes(b"of the container")
    (data / "link").symlink_to(outside)
    data.chmod(0o777)
    script = 'for n in lib lib64; do /bin/ln -s usr/$n /$n; done; exec /usr/bin/python3 -I -S -c "$PROGRAM"'
    host = {"Binds": [f"{data}:/data", "/usr:/usr:ro"], "UsernsMode": userns}
    container = engine.run("/bin/sh", "-c", script, Env=[f"PROGRAM={_SWAP}"], HostConfig=host, Tty=True)
    while b"up" not in engine.call("GET", f"/containers/{container}/logs", stdout="1").body:
        assert engine.inspect(container)["State"]["Running"]
    yield container
    engine.remove(container)


def a_host_folder(tmp_path: Path) -> tuple[Path, Path]:
    """(shared with the container, the host's own)"""
    data, outside = tmp_path / "data", tmp_path / "outside"
    for each in (data, outside):
        each.mkdir()
        each.chmod(0o777)
    (outside / "file").write_bytes(CANARY)
    tmp_path.chmod(0o777)
    return data, outside


@pytest.mark.parametrize("userns", USERNS)
@pytest.mark.parametrize("who", ["running", "stopped"])
def test_a_folder_that_is_swapped_for_a_link_leads_nowhere(
    engine: NativeEngine, tmp_path: Path, userns: str, who: str
) -> None:
    """CVE-2018-15664, CVE-2026-42306: also while another container swaps in a shared volume."""
    data, outside = a_host_folder(tmp_path)
    with swapped(engine, data, outside, userns) as attacker:
        victim = attacker
        if who == "stopped":
            victim = engine.create("true", HostConfig={"Binds": [f"{data}:/data"], "UsernsMode": userns})
        read = written = 0
        for number in range(50 * ROUNDS):
            # On until something came through: an attack that never met the open folder shows nothing.
            if number >= ROUNDS and read + written:
                break
            got = b""
            # A folder that is a link to nowhere by the time that it is read breaks the answer off.
            with contextlib.suppress(http.client.IncompleteRead):
                got = rig.get(engine, victim, "/data/d/file").body
            assert CANARY not in got
            read += b"of the container" in got
            tar = rig.archive(rig.member(f"new{number}", b"x"), rig.member("d2/deep", b"y"))
            written += rig.put(engine, victim, "/data/d", tar).status == 200
            into = rig.archive(rig.folder("d"), rig.member(f"d/through{number}", b"z"))
            rig.put(engine, victim, "/data", into)
            assert [each.name for each in outside.iterdir()] == ["file"]
        assert read + written > 0
    assert (outside / "file").read_bytes() == CANARY


def test_by_path_the_swap_leads_out(engine: NativeEngine, tmp_path: Path) -> None:
    """Weakened: checked, then opened by its name, as it once was; the host's file comes soon."""
    data, outside = a_host_folder(tmp_path)
    with swapped(engine, data, outside, "host"):
        for _ in range(20_000):
            try:
                if (data / "d").is_symlink():
                    continue
                if (data / "d/file").read_bytes() == CANARY:
                    return
            except OSError:
                continue
    pytest.fail("the swap is too slow to be an attack")


def test_links_in_an_archive_stay_inside(engine: NativeEngine, tmp_path: Path) -> None:
    """Rows 11 to 13: an entry below a link that came before it, absolute, relative and nested."""
    (tmp_path / "file").write_bytes(CANARY)
    container = engine.run("sleep", "1000", HostConfig={"UsernsMode": "host"})
    up = "/".join([".."] * 12)
    for number, target in enumerate((str(tmp_path), f"{up}{tmp_path}", f"a/../{up}{tmp_path}")):
        name = f"l{number}"
        tar = rig.archive(
            rig.member(name, type=tarfile.SYMTYPE, linkname=target),
            rig.member(f"{name}/file", b"overwritten"),
            rig.member(f"{name}/new", b"new"),
            rig.member("h", type=tarfile.LNKTYPE, linkname=f"{name}/file"),
            rig.member(f"../../{name}", b"up"),
        )
        rig.put(engine, container, "/tmp", tar)
        assert [each.name for each in tmp_path.iterdir()] == ["file"]
        assert (tmp_path / "file").read_bytes() == CANARY
        assert CANARY not in rig.get(engine, container, f"/tmp/{name}/file").body


def test_a_containers_own_tools_and_modules_are_never_run(engine: NativeEngine) -> None:
    """Rows 8 and 9, CVE-2019-14271, CVE-2026-41567: decompressors, libraries and Python modules lie in the
    container wherever ours would be looked for; each leaves a mark when it is run."""
    container = engine.run("sleep", "1000")
    traps = [
        rig.member(f"{place}/{name}", b"#!/bin/sh\ntouch /run-by-host\ncat\n", mode=0o755)
        for place in ("bin", "usr/bin", "usr/local/bin")
        for name in ("xz", "unpigz", "gzip", "zstd", "bzip2", "tar", "python3")
    ]
    module = b"open('/loaded-by-host', 'w').close()\n"
    places = {each.strip("/") for each in sys.path if each.startswith("/") and "wherry" not in each}
    stdlib = str(Path(os.__file__).parent).strip("/")
    traps += [rig.member(f"{stdlib}/{name}.py", module) for name in sorted(sys.stdlib_module_names)]
    traps += [rig.member(f"{stdlib}/encodings/{name}.py", module) for name in ("idna", "cp437", "utf_7")]
    traps += [rig.member(f"{place}/sitecustomize.py", module) for place in sorted(places)]
    traps += [rig.member(f"lib/{name}", b"\x7fELF") for name in ("libnss_files.so.2", "libgcc_s.so.1")]
    assert rig.put(engine, container, "/", rig.archive(*traps)).status == 200
    for kind in ("gz", "bz2", "xz"):
        tar = rig.archive(rig.member(f"from-{kind}", b"x", uname="nobody-here", gname="idna"))
        compress = __import__({"gz": "gzip", "bz2": "bz2", "xz": "lzma"}[kind]).compress
        assert rig.put(engine, container, "/tmp", compress(tar)).status == 200
    for data in (b"\xfd7zXZ\x00broken", b"\x1f\x8bbroken", b"BZh9broken", b"x" * 2000):
        assert rig.put(engine, container, "/tmp", data).status >= 400
    for path in ("/tmp", "/no/such", "/etc/passwd/x", "/tmp/\u00fc\u00e9", "/proc/self", "/bin/../tmp"):
        rig.get(engine, container, path)
    rig.put(engine, container, "/tmp", rig.archive(rig.member("f", b"x")), copyUIDGID="1")
    for mark in ("/run-by-host", "/loaded-by-host"):
        assert rig.get(engine, container, mark).status == 404
    # The traps work: the container's own user steps on one.
    body = {"Cmd": ["/usr/bin/xz"], "AttachStdout": True}
    made = engine.call("POST", f"/containers/{container}/exec", body)
    engine.call("POST", f"/exec/{made.json['Id']}/start", {"Detach": False})
    assert rig.get(engine, container, "/run-by-host").status == 200


@pytest.mark.parametrize("pid_mode", ["", "host"])
def test_magic_links_and_endless_files_of_proc(engine: NativeEngine, tmp_path: Path, pid_mode: str) -> None:
    """/proc/<pid>/root, cwd and fd lead out of any root; with the host's processes they are the host's."""
    (tmp_path / "secret").write_bytes(CANARY)
    host = {"PidMode": pid_mode, "UsernsMode": "host"}
    container = engine.run("sleep", "1000", HostConfig=host)
    pids = ("self", "1", str(os.getpid()), "thread-self")
    for pid in pids:
        for link in ("root", "cwd", "fd/0", "exe", "root/../root"):
            path = f"/proc/{pid}/{link}"
            assert CANARY not in rig.get(engine, container, f"{path}{tmp_path}/secret").body
            tar = rig.archive(rig.member("planted", b"x"))
            assert rig.put(engine, container, f"{path}{tmp_path}", tar).status >= 400
    assert [each.name for each in tmp_path.iterdir()] == ["secret"]
    answers: list[int] = []

    def endless() -> None:
        paths = ("/dev/zero", "/proc/kmsg", "/proc/kcore", "/dev/random")
        answers.extend(rig.get(engine, container, path).status for path in paths)

    worker = threading.Thread(target=endless, daemon=True)
    worker.start()
    worker.join(30)
    assert not worker.is_alive(), answers
