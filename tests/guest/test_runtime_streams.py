"""Logs, attach, stdin, terminals: nothing is lost, nothing hangs."""

import asyncio
import signal

import pytest
import runtime_fixtures
from runtime_rig import Rig, config, pids_of, read_until, split

from wherryd.errors import Conflict

pytestmark = [pytest.mark.root, pytest.mark.asyncio(loop_scope="module")]

rig = runtime_fixtures.rig


async def test_attach_before_start_loses_nothing_of_a_fast_process(rig: Rig) -> None:
    for _ in range(5):
        output = await rig.sh("echo fast")
        assert output.stdout == "fast\n"


async def test_several_clients_get_all_output_and_then_eof(rig: Rig) -> None:
    monitor = await rig.create(config("sh", "-c", "for i in 1 2 3; do echo line $i; done; echo e >&2"))
    streams = [await monitor.attach(stdin=False, stdout=True, stderr=True) for _ in range(3)]
    only_err = await monitor.attach(stdin=False, stdout=False, stderr=True)
    await monitor.start()
    async with asyncio.timeout(20):
        for stream in streams:
            assert split(await stream.reader.read()) == (b"line 1\nline 2\nline 3\n", b"e\n")
            stream.close()
        assert split(await only_err.reader.read()) == (b"", b"e\n")
    only_err.close()


async def test_attach_after_the_end_gives_eof_at_once(rig: Rig) -> None:
    monitor = await rig.running("exit 0")
    await monitor.wait()
    stream = await monitor.attach(stdin=False, stdout=True, stderr=True)
    async with asyncio.timeout(5):
        assert await stream.reader.read() == b""
    stream.close()


async def test_a_slow_client_holds_the_process_back_and_loses_nothing(rig: Rig) -> None:
    size = 8 * 1024 * 1024
    monitor = await rig.create(config("sh", "-c", f"yes | head -c {size}"), log_path=None)
    slow = await monitor.attach(stdin=False, stdout=True, stderr=False)
    await monitor.start()
    await asyncio.sleep(0.5)
    assert len(await monitor.pids()) >= 2, "the process should be blocked in its write"
    async with asyncio.timeout(40):
        stdout, _ = split(await slow.reader.read())
        assert len(stdout) == size
        assert (await monitor.wait()).exit_code == 0
    slow.close()


async def test_a_client_that_goes_away_sets_the_process_free(rig: Rig) -> None:
    monitor = await rig.create(config("sh", "-c", f"yes | head -c {8 * 1024 * 1024}"), log_path=None)
    slow = await monitor.attach(stdin=False, stdout=True, stderr=False)
    await monitor.start()
    await asyncio.sleep(0.2)
    slow.writer.transport.abort()
    async with asyncio.timeout(40):
        assert (await monitor.wait()).exit_code == 0


async def test_buffered_output_outlives_delete(rig: Rig) -> None:
    monitor = await rig.create(config("sh", "-c", "yes | head -c 600000"), log_path=None)
    stream = await monitor.attach(stdin=False, stdout=True, stderr=False)
    await monitor.start()
    await monitor.wait()
    await monitor.delete()
    async with asyncio.timeout(20):
        stdout, _ = split(await stream.reader.read())
    assert len(stdout) == 600000
    stream.close()


async def test_stdin_once_ends_with_the_clients_half_close(rig: Rig) -> None:
    monitor = await rig.create(config("wc", "-c"), open_stdin=True, stdin_once=True)
    stream = await monitor.attach(stdin=True, stdout=True, stderr=True)
    stream.writer.write(b"early ")
    await monitor.start()
    stream.writer.write(b"x" * 300_000)
    stream.writer.write_eof()
    async with asyncio.timeout(20):
        assert split(await stream.reader.read())[0].strip() == b"300006"
    stream.close()


async def test_without_stdin_once_stdin_stays_open_for_the_next_client(rig: Rig) -> None:
    monitor = await rig.create(config("head", "-n", "2"), open_stdin=True)
    await monitor.start()
    first = await monitor.attach(stdin=True, stdout=False, stderr=False)
    first.writer.write(b"one\n")
    first.writer.write_eof()
    await asyncio.sleep(0.1)
    first.close()
    second = await monitor.attach(stdin=True, stdout=True, stderr=False)
    second.writer.write(b"two\n")
    async with asyncio.timeout(20):
        assert b"two\n" in await second.reader.read()
        assert (await monitor.wait()).exit_code == 0
    second.close()
    assert [each["log"] for each in rig.records(monitor.container_id)] == ["one\n", "two\n"]


async def test_without_open_stdin_the_process_reads_nothing(rig: Rig) -> None:
    assert (await rig.run(config("cat"))).status.exit_code == 0


async def test_the_log_has_dockers_shape_and_marks_long_lines(rig: Rig) -> None:
    output = await rig.sh("echo 'a \"<ü>\"'; head -c 20000 /dev/zero | tr '\\0' y 2>/dev/null; printf end")
    assert output.status.exit_code == 0
    monitor = await rig.create(
        config("sh", "-c", "yes y | head -c 40000 | { while read -r l; do printf y; done; }; echo")
    )
    await monitor.start()
    await monitor.wait()
    records = rig.records(monitor.container_id)
    assert [len(each["log"]) for each in records] == [16384, 3616 + 1]
    assert all(set(each) == {"log", "stream", "time"} for each in records)
    assert not records[0]["log"].endswith("\n")


async def test_the_log_is_rotated_and_nothing_is_lost(rig: Rig) -> None:
    monitor = await rig.create(
        config("sh", "-c", "i=0; while [ $i -lt 200 ]; do echo line $i; i=$((i+1)); done"),
        log_max_bytes=8000,
        log_max_files=5,
    )
    await monitor.start()
    await monitor.wait()
    log = rig.log(monitor.container_id)
    files = sorted(log.parent.glob(f"{log.name}*"), key=lambda path: (len(path.name), path.name))
    assert len(files) > 1
    assert all(path.stat().st_size <= 8000 for path in files)
    text = "".join(path.read_text() for path in [*reversed(files[1:]), files[0]])
    assert text.count('"log"') == 200


async def test_a_terminal_is_the_controlling_one_and_has_its_size(rig: Rig) -> None:
    output = await rig.run(
        config("sh", "-c", "tty; stty size; ls -l /dev/console | wc -l", terminal=True),
        terminal=True,
        console_size=(33, 99),
    )
    assert output.stdout == "/dev/pts/0\r\n33 99\r\n1\r\n"


async def test_resize_before_start_and_while_running(rig: Rig) -> None:
    monitor = await rig.create(
        config(
            "sh",
            "-c",
            "stty size; trap 'stty size; exit 0' WINCH; while true; do usleep 10000; done",
            terminal=True,
        ),
        terminal=True,
    )
    stream = await monitor.attach(stdin=True, stdout=True, stderr=True)
    await monitor.resize(10, 20)
    await monitor.start()
    await read_until(stream, b"10 20\r\n")
    await asyncio.sleep(0.2)
    await monitor.resize(30, 40)
    await read_until(stream, b"30 40\r\n")
    stream.close()
    assert (await monitor.wait()).exit_code == 0


async def test_resize_without_a_terminal_is_a_conflict(rig: Rig) -> None:
    monitor = await rig.running()
    with pytest.raises(Conflict, match="no terminal"):
        await monitor.resize(1, 1)


async def test_a_terminal_takes_input_and_ctrl_c(rig: Rig) -> None:
    monitor = await rig.create(config("sh", terminal=True), terminal=True, open_stdin=True)
    stream = await monitor.attach(stdin=True, stdout=True, stderr=True)
    await monitor.start()
    stream.writer.write(b"echo $((40 + 2))\n")
    await read_until(stream, b"42\r\n")
    stream.writer.write(b"sleep 1000\n")
    await asyncio.sleep(0.3)
    stream.writer.write(b"\x03")
    await asyncio.sleep(0.1)
    stream.writer.write(b"exit 5\n")
    async with asyncio.timeout(20):
        assert (await monitor.wait()).exit_code == 5
    stream.close()


async def test_output_held_open_elsewhere_does_not_hang_the_end(rig: Rig) -> None:
    """A host-PID container's grandchild is killed with its cgroup, so its pipe ends."""
    document = config("sh", "-c", "sleep 1000 & echo started")
    document["linux"]["namespaces"] = [
        each for each in document["linux"]["namespaces"] if each["type"] != "pid"
    ]
    async with asyncio.timeout(20):
        assert (await rig.run(document)).stdout == "started\n"


async def test_kill_to_everyone_reaches_children(rig: Rig) -> None:
    monitor = await rig.running("trap '' TERM; sleep 1000 & wait; while true; do usleep 10000; done")
    await pids_of(monitor, 2)
    await monitor.kill(signal.SIGTERM, everyone=True)
    await monitor.kill(signal.SIGKILL, everyone=True)
    assert (await monitor.wait()).exit_code == 137
