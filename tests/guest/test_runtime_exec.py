"""Further processes in a running container."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import runtime_fixtures
from runtime_rig import Rig, config, plain_io, read_until, split

from wherryd.errors import Conflict, InvalidParameter, NotFound, RuntimeFault
from wherryd.runtime.client import Monitor

pytestmark = [pytest.mark.root, pytest.mark.asyncio(loop_scope="module")]

rig = runtime_fixtures.rig


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def monitor(rig: Rig) -> Monitor:
    return await rig.running()


def process(*args: str, **more: Any) -> dict[str, Any]:
    return config(*args, **more)["process"]


async def run(monitor: Monitor, exec_id: str, document: dict[str, Any]) -> tuple[bytes, bytes, int]:
    session = await monitor.exec_create(exec_id, process=document, open_stdin=False)
    stream = await session.attach(stdin=False, stdout=True, stderr=True)
    async with asyncio.timeout(20):
        await session.start()
        raw = await stream.reader.read()
        status = await session.wait()
    stream.close()
    return (*split(raw), status.exit_code)


async def test_it_runs_in_the_containers_namespaces_and_cgroup(rig: Rig, monitor: Monitor) -> None:
    kinds = ("mnt", "pid", "net", "uts", "ipc", "cgroup")
    script = f"for n in {' '.join(kinds)}; do readlink /proc/self/ns/$n; done; exit 6"
    stdout, _, code = await run(monitor, "ns", process("sh", "-c", script))
    assert stdout.decode().split() == [
        str(Path(f"/proc/{monitor.pid}/ns/{kind}").readlink()) for kind in kinds
    ]
    assert code == 6


async def test_streams_are_apart_and_user_and_cwd_are_taken(rig: Rig, monitor: Monitor) -> None:
    document = process(
        "sh", "-c", "id -un; pwd; echo e >&2", cwd="/home/my", user={"uid": 0, "gid": 0, "username": "my"}
    )
    assert await run(monitor, "who", document) == (b"my\n/home/my\n", b"e\n", 0)


async def test_capabilities_are_the_requested_ones(rig: Rig, monitor: Monitor) -> None:
    stdout, _, _ = await run(monitor, "caps", process("grep", "CapEff", "/proc/self/status"))
    assert stdout.split()[1] == b"00000000a80425fb"


async def test_no_descriptor_of_ours_is_left(rig: Rig, monitor: Monitor) -> None:
    stdout, _, _ = await run(monitor, "fds", process("ls", "/proc/self/fd"))
    assert stdout.split() == [b"0", b"1", b"2", b"3"]


async def test_a_missing_program_has_code_127_also_for_wait(rig: Rig, monitor: Monitor) -> None:
    session = await monitor.exec_create("nosuch", process=process("nosuch"), open_stdin=False)
    stream = await session.attach(stdin=False, stdout=True, stderr=True)
    with pytest.raises(RuntimeFault, match="executable file not found") as caught:
        await session.start()
    assert caught.value.exit_code == 127
    assert await stream.reader.read() == b""
    stream.close()
    assert (await session.wait()).exit_code == 127


async def test_a_missing_cwd_is_told(rig: Rig, monitor: Monitor) -> None:
    session = await monitor.exec_create("cwd", process=process("true", cwd="/nowhere"), open_stdin=False)
    with pytest.raises(RuntimeFault, match=r'chdir to cwd \("/nowhere"\)'):
        await session.start()


async def test_ids_are_unique_and_known(rig: Rig, monitor: Monitor) -> None:
    session = await monitor.exec_create("once", process=process("true"), open_stdin=False)
    with pytest.raises(Conflict):
        await monitor.exec_create("once", process=process("true"), open_stdin=False)
    await session.start()
    with pytest.raises(Conflict, match="started already"):
        await session.start()
    assert (await session.wait()).exit_code == 0
    with pytest.raises(NotFound, match="No such exec instance"):
        await monitor.call("exec_start", exec_id="never")


async def test_a_bad_process_is_told_by_field(rig: Rig, monitor: Monitor) -> None:
    with pytest.raises(InvalidParameter, match=r"process\.args"):
        await monitor.exec_create("bad", process={"args": [], "cwd": "/"}, open_stdin=False)


async def test_stdin_is_half_closed(rig: Rig, monitor: Monitor) -> None:
    session = await monitor.exec_create("stdin", process=process("cat"), open_stdin=True)
    stream = await session.attach(stdin=True, stdout=True, stderr=True)
    await session.start()
    stream.writer.write(b"hello")
    stream.writer.write_eof()
    async with asyncio.timeout(20):
        assert split(await stream.reader.read())[0] == b"hello"
        assert (await session.wait()).exit_code == 0
    stream.close()


async def test_a_terminal_in_exec(rig: Rig, monitor: Monitor) -> None:
    session = await monitor.exec_create(
        "tty", process=process("sh", terminal=True), open_stdin=True, console_size=(12, 34)
    )
    stream = await session.attach(stdin=True, stdout=True, stderr=True)
    await session.start()
    stream.writer.write(b"stty size; tty\n")
    out = await read_until(stream, b"/dev/pts/")
    assert b"12 34\r\n" in out
    await session.resize(55, 66)
    stream.writer.write(b"stty size\n")
    await read_until(stream, b"55 66\r\n")
    stream.writer.write(b"exit 3\n")
    async with asyncio.timeout(20):
        assert (await session.wait()).exit_code == 3
    stream.close()


async def test_it_ends_with_the_container(rig: Rig) -> None:
    holder = await rig.running()
    session = await holder.exec_create("long", process=process("sleep", "1000"), open_stdin=False)
    await session.start()
    await holder.kill(signal.SIGKILL)
    async with asyncio.timeout(20):
        assert (await holder.wait()).exit_code == 137
        assert (await session.wait()).exit_code == 137
    await holder.delete()


async def test_it_needs_a_running_container(rig: Rig) -> None:
    created = await rig.create(config("true"))
    with pytest.raises(Conflict, match="is not running"):
        await created.exec_create("early", process=process("true"), open_stdin=False)
    paused = await rig.running()
    session = await paused.exec_create("paused", process=process("true"), open_stdin=False)
    await paused.pause()
    with pytest.raises(Conflict, match="is paused"):
        await session.start()
    await paused.resume()


async def test_it_joins_a_user_namespace(rig: Rig) -> None:
    document = config("sleep", "1000")
    document["linux"]["namespaces"].append({"type": "user"})
    maps = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    document["linux"] |= {"uidMappings": maps, "gidMappings": maps}
    document["mounts"] = [each for each in document["mounts"] if each["destination"] != "/dev/mqueue"]
    rig.base.chmod(0o755)
    name = rig.name()
    bundle, layers = rig.bundle(name, document)
    holder = await rig.client.create(name, bundle=bundle, rootfs=layers, io=plain_io())
    rig.monitors.append(holder)
    await holder.start()
    stdout, stderr, _ = await run(holder, "user", process("sh", "-c", "echo $$; id -u; ps | wc -l"))
    assert stdout.split()[1:2] == [b"0"], stderr
    assert int(stdout.split()[0]) < 100
