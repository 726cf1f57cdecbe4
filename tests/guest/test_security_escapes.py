"""Attempts to get out of a container: by the runtime's own files, by links, by what runs at the same time.

Each test is a row of the table of known vulnerabilities; its CVE is in the docstring. Where it can be had
cheaply, the same attempt is made on a weakened set-up and must work there.
"""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import runtime_fixtures
from runtime_rig import CGROUP, TIMEOUT_S, Rig, config, read_until
from security_rig import attacker, by_command, docker_default, findings, image_has, without

from wherryd.errors import EngineError, RuntimeFault

pytestmark = [pytest.mark.root, pytest.mark.asyncio(loop_scope="module")]

rig = runtime_fixtures.rig

CANARY = "wherry-canary-of-the-host"


# --- the runtime's own program ---

#: An entrypoint: the kernel runs our interpreter for it. It keeps that file open, becomes a shell (so that
#: the file is no longer busy), and goes on trying to write to it until the runtime has gone.
_OVERWRITE = f"""#!/proc/self/exe
import os
fd = os.open("/proc/self/exe", os.O_RDONLY)
os.set_inheritable(fd, True)
os.execv("/bin/busybox", ["sh", "-c", f'''
    i=0
    while [ $i -lt 40 ]; do
        if (echo {CANARY} > /proc/self/fd/{{fd}}) 2>/tmp/why; then echo overwritten; exit 0; fi
        i=$((i + 1)); usleep 50000
    done
    cat /tmp/why
'''])
"""


@pytest.mark.parametrize("weakened", [False, True])
async def test_the_interpreter_cannot_be_overwritten_through_proc_self_exe(rig: Rig, weakened: bool) -> None:
    """Row 1, CVE-2019-5736. Weakened: the runtime does not move its own program to a read-only mount."""
    folder = rig.base / f"exe-{weakened}"
    bundle, root = folder / "bundle", folder / "bundle/rootfs"
    bundle.mkdir(parents=True)
    shutil.copytree(rig.base / "image", root, symlinks=True)
    (root / "bin/evil").write_text(_OVERWRITE)
    (root / "bin/evil").chmod(0o755)
    interpreter = folder / "python3"
    shutil.copy(Path(sys.executable).resolve(), interpreter)
    before = interpreter.read_bytes()
    document = attacker(rig, "")
    for name in ("lib", "lib64"):
        if not (root / name).is_symlink():
            (root / name).symlink_to(f"usr/{name}")
    document["process"] |= {"args": ["/bin/evil"], "env": ["PATH=/bin", "PYTHONHOME=/usr"]}
    document["linux"]["cgroupsPath"] = f"{CGROUP}/exe-{weakened}"
    (bundle / "config.json").write_text(json.dumps(document))
    # pyenv's Python finds its library by its own place.
    environment = {
        **os.environ,
        "PYTHONHOME": sys.base_prefix,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    program = "from wherryd.runtime import cli, selfexe; "
    program += "selfexe.start_again_protected = lambda: None; " if weakened else ""
    runc = [str(interpreter), "-c", program + "cli.main()", "--root", str(folder / "state")]

    def call(*arguments: str, **more: Any) -> None:
        subprocess.run([*runc, *arguments], env=environment, check=True, timeout=60, **more)

    name = f"exe-{weakened}"
    with (folder / "out").open("w+") as out:
        try:
            call("run", "-d", "-b", str(bundle), name, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
            deadline = time.monotonic() + TIMEOUT_S
            while not (said := (folder / "out").read_text()):
                assert time.monotonic() < deadline, "the attacker has said nothing"
                await asyncio.sleep(0.05)
        finally:
            # A fresh copy: the attacked one may no longer run.
            runc[0] = sys.executable
            call("delete", "--force", name)
    if weakened:
        assert "overwritten" in said
        assert interpreter.read_bytes() != before
    else:
        assert "Read-only file system" in said
        assert interpreter.read_bytes() == before


@pytest.mark.parametrize("path", ["/proc/self/exe", "/proc/1/exe", "/proc/thread-self/root/proc/self/exe"])
async def test_a_magic_link_is_no_program(rig: Rig, path: str) -> None:
    """Row 1: the entrypoint itself, or a link of the image to it."""
    with pytest.raises(RuntimeFault, match="symbolic links"):
        await rig.create(config(path, "-c", "print(1)"))
    with image_has(rig, "bin/program", path), pytest.raises(RuntimeFault, match="symbolic links"):
        await rig.create(config("/bin/program"))


# --- descriptors and the working directory ---


@pytest.mark.parametrize("number", [*range(3, 12), "../self/cwd"])
async def test_a_link_to_one_of_our_descriptors_is_no_working_directory(rig: Rig, number: object) -> None:
    """Row 2, CVE-2024-21626: WORKDIR is a link of the image; also for exec, into a running container."""
    with image_has(rig, "work", f"/proc/self/fd/{number}"):
        with pytest.raises(RuntimeFault):
            await rig.create(config("true", cwd="/work"))
        monitor = await rig.running()
        process = config("pwd", cwd="/work")["process"]
        session = await monitor.exec_create("e", process=process, open_stdin=False)
        with pytest.raises(RuntimeFault):
            await session.start()
        await monitor.kill(9)
        await monitor.wait()
        await monitor.delete()


# --- what is mounted, and where ---


async def test_a_null_device_that_is_a_link_masks_nothing_away(rig: Rig, tmp_path: Path) -> None:
    """Row 3, CVE-2025-31133: without a /dev of its own, the image's /dev/null leads to core_pattern."""
    with image_has(rig, "dev/null", "/proc/sys/kernel/core_pattern"):
        document = without(config("true"), "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue")
        with pytest.raises(RuntimeFault, match=r"/dev/null exists in the root and is another file"):
            await rig.create(document)
    # With its own /dev the image's is not seen, and masks are the real null device.
    output = await rig.sh("wc -c < /proc/keys; ls -l /dev/null")
    assert output.stdout.startswith("0\n")
    assert "1,   3" in output.stdout


@pytest.mark.parametrize(
    "target", ["/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/self/fd/7"]
)
async def test_a_console_that_is_a_link_is_not_followed_out(rig: Rig, target: str) -> None:
    """Row 4, CVE-2025-52565: what is bound is our terminal, by descriptor, whatever lies at either name."""
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    with image_has(rig, "dev/console", target):
        document = without(config("sh", "-c", "echo 1 > /dev/console; echo end", terminal=True), "/dev")
        said = "1 end"
        with contextlib.suppress(RuntimeFault):  # refusing such an image is fine
            said = (await rig.run(document, terminal=True)).stdout
        assert said.split() == ["1", "end"]  # it was our terminal that was written to
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before
    assert target not in Path("/proc/self/mounts").read_text()


async def test_sysctls_are_written_to_the_real_proc(rig: Rig) -> None:
    """Row 5: an image that brings its own /proc/sys does not swallow a setting, nor is one redirected."""
    fake = rig.base / "image/proc/sys/net/ipv4"
    fake.mkdir(parents=True)
    (fake / "ip_unprivileged_port_start").write_text("image")
    try:
        document = config("cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start")
        document["linux"]["sysctl"] = {"net.ipv4.ip_unprivileged_port_start": "99"}
        assert (await rig.run(document)).stdout == "99\n"
        assert (fake / "ip_unprivileged_port_start").read_text() == "image"
    finally:
        shutil.rmtree(rig.base / "image/proc/sys")


@pytest.mark.parametrize("target", ["/", "/../../../..", "/tmp/elsewhere", "/nowhere/deep"])
async def test_a_dev_that_is_a_link_stays_inside(rig: Rig, target: str) -> None:
    """Row 6, CVE-2026-41579: device nodes and mounts below /dev go where the link leads in the root."""
    host_dev = sorted(each.name for each in Path("/dev").iterdir())
    host_root = sorted(each.name for each in Path("/").iterdir())
    with image_has(rig, "dev", target), contextlib.suppress(RuntimeFault):
        assert (await rig.sh("true")).status.exit_code in (0, 127)
    assert sorted(each.name for each in Path("/dev").iterdir()) == host_dev
    assert sorted(each.name for each in Path("/").iterdir()) == host_root


# --- what the host has, seen from inside ---


async def test_a_mask_cannot_be_used_to_change_the_hosts_null_device(rig: Rig) -> None:
    """What covers a masked file is the host's own /dev/null, whose node root inside, who may be the host's
    root, could change: its mode, its owner, its attributes. Weakened: the mount is not read-only."""
    attempt = """
got = []
for name, change in (
    ("chmod", lambda p: os.chmod(p, 0o666)), ("chown", lambda p: os.chown(p, 0, 0)), ("utime", os.utime),
    ("xattr", lambda p: os.setxattr(p, "trusted.wherry", b"")),
):
    for path in ("/proc/keys", "/proc/timer_list"):
        try:
            change(path); got.append(name)
        except OSError:
            pass
os.close(os.open("/proc/keys", os.O_WRONLY))
print(json.dumps(got))
"""
    for seccomp in (None, docker_default()):
        assert findings(await rig.run(attacker(rig, attempt, seccomp=seccomp))) == []
    weaken = "from wherryd.runtime import mounting\nmounting.protect_node = lambda copy, subject: copy\n"
    # The same mode, owner and no attribute that stays: it only shows that it may.
    assert "chmod" in findings(await asyncio.to_thread(by_command, rig, attacker(rig, attempt), weaken))
    with contextlib.suppress(OSError):
        os.removexattr("/dev/null", "trusted.wherry")


async def test_release_agent_of_cgroup_v1_is_out_of_reach(rig: Rig) -> None:
    """Row 18, CVE-2022-0492, with the filter and without: the group's own files are read-only, and a user
    namespace of the container's own gets no cgroup file system to write to."""
    attempt = """
import glob
got = []
files = [glob.glob(f"/sys/fs/cgroup/**/{name}", recursive=True) for name in ("release_agent", "cgroup.procs")]
for path in sum(files, []):
    try:
        os.close(os.open(path, os.O_WRONLY)); got.append(path)
    except OSError:
        pass
# CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWCGROUP
unshared = call(272, 0x10000000 | 0x20000 | 0x2000000)
for kind in (b"memory", b"rdma", b"cpuset"):
    os.makedirs("/tmp/cg", exist_ok=True)
    if call(165, b"cgroup", b"/tmp/cg", b"cgroup", 0, kind) == 0:
        try:
            os.close(os.open("/tmp/cg/release_agent", os.O_WRONLY)); got.append("mounted " + kind.decode())
        except OSError:
            pass
print(json.dumps({"writable": got, "unshared": unshared}))
"""
    found = findings(await rig.run(attacker(rig, attempt)))
    assert found == {"writable": [], "unshared": 0}  # the bare container could make the namespaces
    found = findings(await rig.run(attacker(rig, attempt, seccomp=docker_default())))
    assert found["writable"] == []
    assert found["unshared"] < 0
    # Weakened: what is at /sys/fs/cgroup may be written to, and the attempt finds it.
    document = attacker(rig, attempt)
    for each in document["mounts"]:
        if each["destination"] == "/sys/fs/cgroup":
            each["options"].remove("ro")
    assert any(path.endswith("cgroup.procs") for path in findings(await rig.run(document))["writable"])


async def test_no_control_socket_has_an_abstract_name(rig: Rig) -> None:
    """Row 17, CVE-2020-15257: a container in the host's network sees every abstract socket."""
    document = config("sh", "-c", "cat /proc/net/unix; echo END; sleep 1000")
    document["linux"]["namespaces"] = [
        each for each in document["linux"]["namespaces"] if each["type"] != "network"
    ]
    monitor = await rig.create(without(document, "/sys", "/sys/fs/cgroup"))
    stream = await monitor.attach(stdin=False, stdout=True, stderr=True)
    canary = f"wherry-abstract-{os.getpid()}".encode()
    with socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind(b"\0" + canary)
        await monitor.start()
        table = await read_until(stream, b"END")
    stream.close()
    # One that has such a name would be seen.
    assert b"@" + canary in table
    directory = rig.exec_root / "containers" / monitor.container_id
    ours = _sockets(json.loads((directory / "state.json").read_text())["monitor_pid"])
    lines = [line.split() for line in table.split(b"\n")]
    named = {words[6]: words[7] for words in lines if len(words) > 7}
    assert ours
    # Its door and its neighbours' are seen, by paths of the host's, which lead to where only its root gets.
    doors = {named[inode] for inode in ours & named.keys()}
    assert doors
    for door in doors:
        assert door.startswith(b"/")
        assert door.endswith(b"monitor.sock")
    assert directory.stat().st_mode & 0o777 == 0o700
    await monitor.kill(9)
    await monitor.wait()


def _sockets(pid: int) -> set[bytes]:
    """Inodes of a process's sockets."""
    links = [each.readlink().name for each in Path(f"/proc/{pid}/fd").iterdir()]
    return {link.removeprefix("socket:[")[:-1].encode() for link in links if link.startswith("socket:[")}


async def test_an_entering_process_cannot_be_traced_or_read(rig: Rig) -> None:
    """Rows 1 and 20, CVE-2016-9962: while exec enters again and again, a process inside tries to attach to
    every other one, and to read its program, folders, descriptors and memory."""
    spy = """
import glob, time
seen, attached, opened = set(), set(), 0
print("up", flush=True)
end = time.monotonic() + 4
while time.monotonic() < end:
    for path in glob.glob("/proc/[0-9]*"):
        pid = int(path[6:])
        if pid == os.getpid():
            continue
        for name in ("exe", "cwd", "root"):
            try:
                link = os.readlink(f"{path}/{name}")
            except OSError:
                continue
            seen.add(f"{name} {link}")
        try:
            opened += len(os.listdir(f"{path}/fd"))
        except OSError:
            pass
        if call(101, 0x4206, pid, 0, 0) == 0:  # PTRACE_SEIZE
            try:
                attached.add(os.readlink(f"{path}/exe"))
            except OSError as error:
                # Without a program and memory any more: it has exited just now.
                attached.add("gone" if error.errno in (2, 3) else str(error))
            call(101, 0x4207, pid, 0, 0)  # PTRACE_INTERRUPT, so that it can be detached from
            try:
                os.waitpid(pid, 0x40000000)  # __WALL
            except ChildProcessError:
                pass
            call(101, 17, pid, 0, 0)
print(json.dumps({"seen": sorted(seen), "attached": sorted(attached)}), flush=True)
"""
    document = attacker(rig, spy, seccomp=docker_default())
    monitor = await rig.create(document)
    stream = await monitor.attach(stdin=False, stdout=True, stderr=True)
    await monitor.start()
    await read_until(stream, b"up\n")
    number = 0
    waiting = asyncio.ensure_future(stream.reader.read())
    while not waiting.done():
        number += 1
        process = config("usleep", "20000")["process"]
        with contextlib.suppress(EngineError):  # the spy has ended, and the container with it
            session = await monitor.exec_create(f"e{number}", process=process, open_stdin=False)
            await session.start()
            await session.wait()
    stream.close()
    found = json.loads(waiting.result()[8:])
    # The programs that were started are the container's own and can be seen and traced: the spy works.
    assert "exe /bin/busybox" in found["seen"]
    assert set(found["attached"]) - {"gone"} == {"/bin/busybox"}
    assert set(found["seen"]) <= {"exe /bin/busybox", "cwd /", "root /"}
    assert number > 10
