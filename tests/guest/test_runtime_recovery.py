"""Killed processes: client, zygote, monitor. Containers and their logs go on, or their end is told."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import runtime_fixtures
from runtime_rig import Rig, children_of_cgroup, config, is_alive, pids_of, plain_io

from wherryd.errors import RuntimeFault
from wherryd.runtime.client import Monitor, RuntimeClient
from wherryd.runtime.monitorpool import CONTAINERS_EACH
from wherryd.runtime.state import StateDir

pytestmark = [pytest.mark.root, pytest.mark.asyncio(loop_scope="module")]

rig = runtime_fixtures.rig

_CLIENT = """
import asyncio, json, sys
from pathlib import Path
from wherryd.runtime.client import ContainerIo, RuntimeClient
from wherryd.spec.mount import Mount

async def main(exec_root, name, bundle, layer, log):
    client = RuntimeClient(exec_root=Path(exec_root))
    await client.open()
    io = ContainerIo(terminal=False, open_stdin=False, stdin_once=False, log_path=Path(log))
    kind, source, target, options = json.loads(layer)
    monitor = await client.create(
        name, bundle=Path(bundle), rootfs=[Mount(kind, source, target, tuple(options))], io=io
    )
    stream = await monitor.attach(stdin=False, stdout=True, stderr=True)
    await monitor.start()
    print("started", flush=True)
    while await stream.reader.read(65536):
        pass

asyncio.run(main(*sys.argv[1:]))
"""


def _start_elsewhere(rig: Rig, script: str) -> tuple[str, subprocess.Popen[str]]:
    """A client in a process of its own that creates, attaches and starts."""
    name = rig.name()
    bundle, (layer,) = rig.bundle(name, config("sh", "-c", script))
    packed = json.dumps([layer.type, layer.source, layer.target, layer.options])
    arguments = [str(rig.exec_root), name, str(bundle), packed, str(rig.log(name))]
    client = subprocess.Popen([sys.executable, "-c", _CLIENT, *arguments], stdout=subprocess.PIPE, text=True)
    assert client.stdout is not None
    assert client.stdout.readline() == "started\n"
    return name, client


def _kill(client: subprocess.Popen[str]) -> None:
    client.kill()
    client.wait(10)
    assert client.stdout is not None
    client.stdout.close()


async def test_a_killed_client_loses_no_line_and_no_status(rig: Rig) -> None:
    script = "i=0; while [ $i -lt 300 ]; do echo line $i; i=$((i+1)); usleep 3000; done; exit 9"
    name, client = await asyncio.to_thread(_start_elsewhere, rig, script)
    await asyncio.sleep(0.2)
    await asyncio.to_thread(_kill, client)
    monitor = await rig.client.recover(name)
    assert monitor is not None
    rig.monitors.append(monitor)
    async with asyncio.timeout(30):
        assert (await monitor.wait()).exit_code == 9
    assert [each["log"] for each in rig.records(name)] == [f"line {number}\n" for number in range(300)]
    await monitor.delete()


async def test_a_container_that_ended_meanwhile_is_told_from_disk(rig: Rig) -> None:
    name, client = await asyncio.to_thread(_start_elsewhere, rig, "usleep 300000; exit 4")
    await asyncio.to_thread(_kill, client)
    async with asyncio.timeout(20):
        while rig.client.last_exit(name) is None:
            await asyncio.sleep(0.02)
    status = rig.client.last_exit(name)
    assert status is not None
    assert status.exit_code == 4
    monitor = await rig.client.recover(name)
    assert monitor is not None
    assert await monitor.wait() == status
    await monitor.delete()
    assert rig.client.last_exit(name) is None


async def test_the_monitor_holds_nothing_of_the_client(rig: Rig) -> None:
    """Only its own files, pipes, sockets and its log; stdin and stdout are the null device."""
    read, write = os.pipe()
    os.set_inheritable(write, True)
    monitor = await rig.running()
    state = StateDir(rig.exec_root, monitor.container_id).read_state()
    folder = Path(f"/proc/{state.monitor_pid}/fd")
    targets = {fd.name: str(fd.readlink()) for fd in folder.iterdir()}
    ours = str(Path(f"/proc/self/fd/{write}").readlink())
    os.close(read)
    os.close(write)
    assert ours not in targets.values()
    assert targets["0"] == targets["1"] == "/dev/null"
    assert targets["2"] == str(rig.exec_root / "monitor.log")
    assert len(targets) < 10 + 12 * CONTAINERS_EACH
    assert os.getsid(state.monitor_pid) == state.monitor_pid


async def test_a_further_process_holds_nothing_of_the_containers_in_the_zygote(rig: Rig) -> None:
    client = RuntimeClient(exec_root=rig.exec_root)
    await client.open()
    monitors: list[Monitor] = []
    try:
        for number in range(CONTAINERS_EACH + 1):
            name = f"further-{number}"
            bundle, layers = rig.bundle(name, config("sleep", "1000"))
            create = client.create(name, bundle=bundle, rootfs=layers, io=plain_io(), start=True)
            monitors.append(await create)
        hosts = [StateDir(rig.exec_root, each.container_id).read_state().monitor_pid for each in monitors]
        process = client._zygote._process
        assert process is not None
        assert hosts[:-1] == [process.pid] * CONTAINERS_EACH
        assert hosts[-1] != process.pid
        first, second = (
            {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()}
            for pid in (hosts[0], hosts[-1])
        )
        assert not [link for link in first & second if link.startswith(("socket:", "pipe:"))]
    finally:
        for each in monitors:
            await each.kill(signal.SIGKILL)
            await each.wait()
            await each.delete()
        await client.close()


async def test_the_zygote_lives_on_for_its_containers(rig: Rig) -> None:
    client = RuntimeClient(exec_root=rig.exec_root)
    await client.open()
    bundle, layers = rig.bundle("lives-on", config("sleep", "1000"))
    monitor = await client.create("lives-on", bundle=bundle, rootfs=layers, io=plain_io(), start=True)
    process = client._zygote._process
    assert process is not None
    await client.close()
    assert is_alive(process.pid)
    found = await rig.client.recover("lives-on")
    assert found is not None
    assert found.pid == monitor.pid
    await found.kill(signal.SIGKILL)
    await found.wait()
    await found.delete()
    async with asyncio.timeout(20):
        while is_alive(process.pid):
            os.waitpid(process.pid, os.WNOHANG)
            await asyncio.sleep(0.01)


async def test_a_killed_zygote_is_started_again(rig: Rig) -> None:
    process = rig.client._zygote._process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    assert (await rig.sh("echo again")).stdout == "again\n"


async def test_the_zygote_ends_with_its_client(rig: Rig) -> None:
    client = RuntimeClient(exec_root=rig.exec_root)
    await client.open()
    process = client._zygote._process
    assert process is not None
    await client.close()
    assert process.returncode == 0


async def test_a_killed_monitor_takes_its_container_along_and_the_end_is_told(rig: Rig) -> None:
    monitor = await rig.running("sleep 1000 & sleep 1000 & wait")
    pids = await pids_of(monitor, 3)
    state = StateDir(rig.exec_root, monitor.container_id).read_state()
    os.kill(state.monitor_pid, signal.SIGKILL)
    async with asyncio.timeout(20):
        status = await monitor.wait()
    assert status.exit_code == 137
    assert re.search("monitor was killed", status.error)
    assert not [pid for pid in pids if is_alive(pid)]
    assert rig.client.last_exit(monitor.container_id) == status
    assert await rig.client.recover(monitor.container_id) is None
    await monitor.delete()
    assert not (rig.exec_root / "containers" / monitor.container_id).exists()


async def test_a_stale_container_gives_way_to_a_new_one(rig: Rig) -> None:
    monitor = await rig.running()
    name = monitor.container_id
    os.kill(StateDir(rig.exec_root, name).read_state().monitor_pid, signal.SIGKILL)
    await monitor.wait()
    for part in (rig.base / name).iterdir():
        assert part.exists()
    fresh = await rig.client.create(
        name,
        bundle=rig.base / name,
        rootfs=(rig.bundle(rig.name(), config("true"))[1]),
        io=plain_io(),
    )
    rig.monitors.append(fresh)
    await fresh.start()
    await fresh.kill(signal.SIGKILL)
    assert (await fresh.wait()).exit_code == 137
    await fresh.delete()


def _process_of(rig: Rig, monitor: Monitor) -> int:
    return StateDir(rig.exec_root, monitor.container_id).read_state().monitor_pid


async def test_containers_share_a_process_a_few_at_a_time(rig: Rig) -> None:
    monitors = [await rig.running() for _ in range(2 * CONTAINERS_EACH + 1)]
    processes = [_process_of(rig, monitor) for monitor in monitors]
    assert max(processes.count(pid) for pid in processes) <= CONTAINERS_EACH
    assert len(set(processes)) <= 4
    for monitor in monitors:
        await monitor.kill(signal.SIGKILL)
        await monitor.wait()
        await monitor.delete()


async def test_a_killed_process_tells_the_end_of_each_container_and_the_next_starts_elsewhere(
    rig: Rig,
) -> None:
    monitors = [await rig.running() for _ in range(CONTAINERS_EACH)]
    processes = {_process_of(rig, monitor) for monitor in monitors}
    for pid in processes:
        os.kill(pid, signal.SIGKILL)
    # In the queue of the dead, or to another: it comes up either way.
    fresh = await rig.running()
    assert _process_of(rig, fresh) not in processes
    async with asyncio.timeout(20):
        assert {(await monitor.wait()).exit_code for monitor in monitors} == {137}
    for monitor in monitors:
        await monitor.delete()


async def test_created_and_started_in_one_go(rig: Rig) -> None:
    name = rig.name()
    bundle, layers = rig.bundle(name, config("sh", "-c", "exit 6"))
    monitor = await rig.client.create(name, bundle=bundle, rootfs=layers, io=plain_io(), start=True)
    rig.monitors.append(monitor)
    assert monitor.started_at
    assert (await monitor.wait()).exit_code == 6
    await monitor.delete()


async def test_one_that_cannot_be_started_leaves_nothing(rig: Rig) -> None:
    name = rig.name()
    bundle, layers = rig.bundle(name, config("nointerpreter"))
    with pytest.raises(RuntimeFault) as caught:
        await rig.client.create(name, bundle=bundle, rootfs=layers, io=plain_io(), start=True)
    assert caught.value.exit_code == 127
    assert not StateDir(rig.exec_root, name).exists()
    assert not children_of_cgroup(name)
    assert rig.client.last_exit(name) is None
