"""The client on a real pseudo-terminal, against a scripted container: what a user at the keyboard gets."""

import sys

import pytest

if sys.platform == "win32":
    pytest.skip("consoles are not pseudo-terminals on Windows", allow_module_level=True)

import contextlib
import fcntl
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator

from cli_fake_engine import Container, FakeEngine, environment, fake_engine, frame

#: Seconds; only a failing test waits so long.
PATIENCE = 20.0


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with fake_engine() as made:
        yield made


class Terminal:
    """`wherry` on a terminal of its own. `typed` and `shown` are the user's side."""

    def __init__(self, engine: FakeEngine, *args: str, size: tuple[int, int] = (30, 100)) -> None:
        self.master, self.slave = pty.openpty()
        self.resize(*size)
        self.before = termios.tcgetattr(self.slave)
        self.shown = b""
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from wherry.cli.main import main; main()", *args],
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            env=environment(engine),
            # A session with this terminal as its own: ctrl-c must arrive as a signal when it is not raw.
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )

    def resize(self, height: int, width: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def expect(self, text: bytes) -> None:
        self._until(lambda: text in self.shown, f"{text!r} on the screen")

    def is_raw(self) -> bool:
        return not termios.tcgetattr(self.slave)[3] & termios.ICANON

    def until_raw(self) -> None:
        self._until(self.is_raw, "a raw terminal")

    def until(self, condition: Callable[[], bool]) -> None:
        self._until(condition, "the engine's side")

    def finish(self) -> int:
        """The exit status; the terminal must be as it was."""
        self._until(lambda: self.process.poll() is not None, "the end of the client")
        assert termios.tcgetattr(self.slave) == self.before
        return self.process.returncode

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"waited for {what}; the screen shows {self.shown!r}"
            ready, _, _ = select.select([self.master], [], [], 0.02)
            if ready:
                with contextlib.suppress(OSError):
                    self.shown += os.read(self.master, 4096)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for fd in (self.master, self.slave):
            with contextlib.suppress(OSError):
                os.close(fd)


@pytest.fixture
def terminal(engine: FakeEngine) -> Iterator[Callable[..., Terminal]]:
    with contextlib.ExitStack() as stack:

        def make(*args: str) -> Terminal:
            made = Terminal(engine, *args)
            stack.callback(made.close)
            return made

        yield make


def echo_until(last: bytes, status: int, got: bytearray | None = None) -> Callable[[socket.socket], int]:
    """A program that shows what it gets, in angle brackets, and ends after `last`; it also puts it in got."""
    got = bytearray() if got is None else got

    def program(connection: socket.socket) -> int:
        connection.sendall(b"ready> ")
        while not got.endswith(last):
            data = connection.recv(100)
            if not data:
                break
            got.extend(data)
            connection.sendall(b"<" + data.hex().encode() + b">")
        return status

    return program


def test_keys_arrive_raw_and_the_status_comes_back(
    engine: FakeEngine, terminal: Callable[..., Terminal]
) -> None:
    Container(engine, echo_until(b"q", 9), tty=True)
    screen = terminal("run", "-it", "img", "sh")
    screen.expect(b"ready> ")
    screen.until_raw()
    screen.type(b"\x03")  # ctrl-c is a key for the program, not a signal for the client
    screen.expect(b"<03>")
    screen.type(b"q")
    assert screen.finish() == 9


def test_the_container_gets_the_terminals_size_and_its_changes(
    engine: FakeEngine, terminal: Callable[..., Terminal]
) -> None:
    container = Container(engine, echo_until(b"q", 0), tty=True)
    screen = terminal("run", "-it", "img")
    screen.expect(b"ready> ")
    screen.until(lambda: (30, 100) in container.sizes)
    document = engine.asked("POST", "/containers/create")[0].json
    assert document["HostConfig"]["ConsoleSize"] == [30, 100]
    screen.resize(40, 120)
    screen.until(lambda: container.sizes[-1] == (40, 120))
    screen.type(b"q")
    assert screen.finish() == 0


def test_detach_keys_leave_the_container_running(
    engine: FakeEngine, terminal: Callable[..., Terminal]
) -> None:
    container = Container(engine, echo_until(b"never", 0), tty=True)
    screen = terminal("run", "-it", "img")
    screen.expect(b"ready> ")
    screen.until_raw()
    screen.type(b"a\x10\x11")
    assert screen.finish() == 0
    assert container.killed == []
    assert not engine.asked("POST", f"/containers/{container.identifier}/stop")


def test_attach_says_that_it_was_left(engine: FakeEngine, terminal: Callable[..., Terminal]) -> None:
    got = bytearray()
    container = Container(engine, echo_until(b"never", 0, got), tty=True)
    container.started.set()
    screen = terminal("attach", "--detach-keys", "x,y", "db")
    screen.expect(b"ready> ")
    screen.until_raw()
    # One step off and back, so that a program redraws its screen.
    screen.until(lambda: container.sizes[:2] == [(31, 101), (30, 100)])
    screen.type(b"xxy")
    assert screen.finish() == 1
    screen.expect(b"read escape sequence")
    screen.until(container.ended.is_set)
    assert got == b"x"


def test_without_a_tty_ctrl_c_goes_to_the_container_as_a_signal(
    engine: FakeEngine, terminal: Callable[..., Terminal]
) -> None:
    def program(connection: socket.socket) -> int:
        connection.sendall(frame(1, b"up\n"))
        deadline = time.monotonic() + PATIENCE
        while not container.killed and time.monotonic() < deadline:
            time.sleep(0.01)
        return 6

    container = Container(engine, program)
    screen = terminal("run", "img")
    screen.expect(b"up")
    screen.type(b"\x03")
    assert screen.finish() == 6
    assert container.killed == ["INT"]


def test_the_third_ctrl_c_ends_the_client(engine: FakeEngine, terminal: Callable[..., Terminal]) -> None:
    def program(connection: socket.socket) -> int:
        connection.sendall(frame(1, b"up\n"))
        container.ended.wait(PATIENCE)
        return 0

    container = Container(engine, program)
    screen = terminal("run", "img")
    screen.expect(b"up")
    for presses in (1, 2, 3):
        screen.type(b"\x03")
        if presses < 3:
            screen.until(lambda count=presses: len(container.killed) == count)  # type: ignore[misc]
    status = screen.finish()
    container.ended.set()
    screen.expect(b"forcefully exiting")
    assert status not in {0, None}


def test_without_sig_proxy_ctrl_c_ends_the_client_alone(
    engine: FakeEngine, terminal: Callable[..., Terminal]
) -> None:
    def program(connection: socket.socket) -> int:
        connection.sendall(frame(1, b"up\n"))
        container.ended.wait(PATIENCE)
        return 0

    container = Container(engine, program)
    screen = terminal("run", "--sig-proxy=false", "img")
    screen.expect(b"up")
    screen.type(b"\x03")
    assert screen.finish() == 130
    container.ended.set()
    assert container.killed == []


def test_the_terminal_comes_back_when_the_engine_goes(
    engine: FakeEngine, terminal: Callable[..., Terminal]
) -> None:
    def program(connection: socket.socket) -> int:
        connection.sendall(b"ready> ")
        connection.recv(1)
        # A reset, as when the tunnel breaks.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return 137

    Container(engine, program, tty=True)
    screen = terminal("run", "-it", "img")
    screen.expect(b"ready> ")
    screen.until_raw()
    screen.type(b"x")
    assert screen.finish() == 137


def test_the_terminal_comes_back_after_sigterm(engine: FakeEngine, terminal: Callable[..., Terminal]) -> None:
    container = Container(engine, echo_until(b"never", 0), tty=True)
    screen = terminal("attach", "db")
    container.started.set()
    screen.expect(b"ready> ")
    screen.until_raw()
    screen.process.send_signal(signal.SIGTERM)
    assert screen.finish() == 128 + signal.SIGTERM


def test_the_terminal_is_gone(engine: FakeEngine, terminal: Callable[..., Terminal]) -> None:
    """The window was closed: input ends, and the client does not stay behind."""
    container = Container(engine, echo_until(b"never", 0), tty=True)
    screen = terminal("run", "-it", "img")
    screen.expect(b"ready> ")
    screen.until_raw()
    os.close(screen.slave)
    os.close(screen.master)
    screen.process.wait(PATIENCE)
    assert "HUP" in container.killed or container.ended.is_set()
