"""The real docker command on a terminal: its size, its keys, and leaving it."""

import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from docker_command import docker
from native_engine import IMAGE, NativeEngine

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("docker_cli")]


@contextmanager
def terminal(engine: NativeEngine, *arguments: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """docker with a terminal of its own: (our end, the process)."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        ["docker", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=engine.docker_environment(),
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield ours, process
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def read_until(fd: int, wanted: bytes, seconds: float = 20.0) -> bytes:
    seen = b""
    deadline = time.monotonic() + seconds
    while wanted not in seen:
        left = deadline - time.monotonic()
        assert left > 0, f"{wanted!r} did not come: {seen!r}"
        if select.select([fd], [], [], left)[0]:
            try:
                seen += os.read(fd, 65536)
            except OSError:
                raise AssertionError(f"ended without {wanted!r}: {seen!r}") from None
    return seen


def test_an_interactive_shell_has_a_terminal_of_the_right_size(engine: NativeEngine) -> None:
    with terminal(engine, "run", "--rm", "-it", IMAGE, "sh") as (ours, process):
        _set_size(ours, 33, 99)
        process.send_signal(signal.SIGWINCH)
        read_until(ours, b"# ")
        os.write(ours, b"sleep 0.5; stty size; tty\n")
        # In one go: both may come in one read.
        assert b"33 99" in read_until(ours, b"/dev/pts/0")
        os.write(ours, b"exit 4\n")
        assert process.wait(20) == 4


def _set_size(fd: int, rows: int, columns: int) -> None:
    import fcntl
    import struct
    import termios

    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def test_ctrl_c_interrupts_the_program_in_the_terminal(engine: NativeEngine) -> None:
    with terminal(
        engine,
        "run",
        "--rm",
        "-it",
        IMAGE,
        "sh",
        "-c",
        "trap 'exit 8' INT; echo ready; while :; do sleep 0.1; done",
    ) as (ours, process):
        read_until(ours, b"ready")
        os.write(ours, b"\x03")
        assert process.wait(20) == 8


def test_detach_keys_leave_the_container_running_and_attach_comes_back(engine: NativeEngine) -> None:
    with terminal(engine, "run", "-it", "--name", "shell", IMAGE, "sh") as (ours, process):
        read_until(ours, b"# ")
        os.write(ours, b"X=kept\n")
        read_until(ours, b"# ")
        os.write(ours, b"\x10\x11")
        assert process.wait(20) == 0
    assert docker(engine, "inspect", "-f", "{{.State.Status}}", "shell") == "running"
    with terminal(engine, "attach", "shell") as (ours, process):
        os.write(ours, b"echo is $X\n")
        read_until(ours, b"is kept")
        os.write(ours, b"exit\n")
        assert process.wait(20) == 0


def test_an_exec_with_a_terminal(engine: NativeEngine) -> None:
    docker(engine, "run", "-d", "--name", "host", IMAGE, "sleep", "60")
    with terminal(engine, "exec", "-it", "host", "sh") as (ours, process):
        read_until(ours, b"# ")
        os.write(ours, b"tty; exit 3\n")
        read_until(ours, b"/dev/pts/")
        assert process.wait(20) == 3
