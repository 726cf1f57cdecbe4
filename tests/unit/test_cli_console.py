"""Windows' consoles, pipes and folders: the rules of the `_windows` modules, tried on every platform."""

import io
import os
import stat
import sys
import tarfile
import threading
import types
from pathlib import Path
from typing import Any

import pytest
from test_engine_copying import archive, folder, into, link
from windows_stand_in import Kernel32, load

from wherry.engine.copying import unpack as unpack_module
from wherry.errors import UsageProblem

# consoleapi.h
PROCESSED_INPUT, LINE_INPUT, ECHO_INPUT, QUICK_EDIT, VT_INPUT = 0x1, 0x2, 0x4, 0x40, 0x200
PROCESSED_OUTPUT, WRAP, VT_OUTPUT, NO_AUTO_RETURN = 0x1, 0x2, 0x4, 0x8
COOKED = PROCESSED_INPUT | LINE_INPUT | ECHO_INPUT | QUICK_EDIT
IN, OUT, ERR = 100, 101, 102  # handles of descriptors 0 to 2


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel32:
    made = Kernel32({IN: COOKED, OUT: PROCESSED_OUTPUT | WRAP})
    made.install(monkeypatch)
    return made


@pytest.fixture
def console(monkeypatch: pytest.MonkeyPatch, kernel: Kernel32) -> Any:
    handles = types.SimpleNamespace(get_osfhandle=lambda fd: fd + 100)
    made = load(monkeypatch, "cli/terminal/_windows.py", msvcrt=handles)
    monkeypatch.setattr(made.os, "isatty", lambda fd: fd + 100 in kernel.modes)
    return made


def test_raw_mode_hands_keys_on_and_shows_escape_sequences(console: Any, kernel: Kernel32) -> None:
    with console.raw_mode(0):
        # Ctrl-C is a key like others now, and arrows come as escape sequences; quick edit is not touched.
        assert kernel.modes[IN] == QUICK_EDIT | VT_INPUT
        assert kernel.modes[OUT] == PROCESSED_OUTPUT | WRAP | VT_OUTPUT | NO_AUTO_RETURN
        assert kernel.page == 65001
    assert (kernel.modes, kernel.page) == ({IN: COOKED, OUT: PROCESSED_OUTPUT | WRAP}, 437)


def test_the_console_is_given_back_early_twice_and_after_an_error(console: Any, kernel: Kernel32) -> None:
    with console.raw_mode(0) as restore:
        restore()
        assert kernel.modes[IN] == COOKED
        kernel.modes[IN] = LINE_INPUT  # what the user's shell may set meanwhile is not overwritten
        restore()
    assert kernel.modes[IN] == LINE_INPUT
    kernel.modes[IN] = COOKED
    with pytest.raises(ValueError, match="boom"), console.raw_mode(0):
        raise ValueError("boom")
    assert (kernel.modes[IN], kernel.page) == (COOKED, 437)


def test_output_into_a_file_is_left_alone(console: Any, kernel: Kernel32) -> None:
    del kernel.modes[OUT]
    with console.raw_mode(0):
        assert kernel.modes == {IN: QUICK_EDIT | VT_INPUT}
        assert kernel.page == 437


def test_an_input_that_is_no_console_is_an_error(console: Any, kernel: Kernel32) -> None:
    del kernel.modes[IN]
    with pytest.raises(OSError, match="no console"), console.raw_mode(0):
        pass


def test_what_is_printed_on_a_console_is_utf_8_and_its_sequences_are_shown(
    console: Any, kernel: Kernel32
) -> None:
    kernel.modes[ERR] = PROCESSED_OUTPUT
    with console.plain_output():
        assert kernel.modes[OUT] == PROCESSED_OUTPUT | WRAP | VT_OUTPUT
        assert kernel.modes[ERR] == PROCESSED_OUTPUT | VT_OUTPUT
        assert kernel.page == 65001
    assert kernel.modes == {IN: COOKED, OUT: PROCESSED_OUTPUT | WRAP, ERR: PROCESSED_OUTPUT}
    assert kernel.page == 437


def test_what_is_printed_into_a_pipe_is_utf_8_with_bare_line_feeds(
    console: Any, kernel: Kernel32, monkeypatch: pytest.MonkeyPatch
) -> None:
    del kernel.modes[OUT]
    monkeypatch.setattr(console.os, "isatty", lambda _: True)  # as Windows says of NUL
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="cp1252", newline="\r\n") for _ in range(2))
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with console.plain_output():
        out.write("корабль\n")
        err.write("лодка\n")
        assert (kernel.modes, kernel.page) == ({IN: COOKED}, 437)
    assert out.buffer.getvalue() == "корабль\n".encode()
    assert err.buffer.getvalue() == "лодка\n".encode()


def test_the_windows_size_is_looked_at_until_the_end(console: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = iter([(80, 24), (80, 24), (100, 30), (100, 30), (90, 20)])
    last = os.terminal_size((90, 20))
    monkeypatch.setattr(console.os, "get_terminal_size", lambda _: os.terminal_size(next(sizes, last)))
    monkeypatch.setattr(console, "SIZE_POLL_SECONDS", 0.001)
    seen = threading.Semaphore(0)
    with console.watch_size(seen.release):
        assert seen.acquire(timeout=10)
        assert seen.acquire(timeout=10)
    assert not seen.acquire(blocking=False)


def test_ctrl_c_goes_to_the_container_and_three_let_one_out(console: Any) -> None:
    import signal

    assert console.FORWARDED == {signal.SIGINT: "INT", signal.SIGTERM: "TERM"}
    assert console.forced(signal.SIGINT)
    assert not console.forced(0)


def test_a_stopped_reader_drops_the_key_that_ends_its_wait(console: Any) -> None:
    read_end, write_end = os.pipe()
    try:
        reader = console.InputReader(read_end)
        os.write(write_end, b"ab")
        assert reader.read(10) == b"ab"
        reader.stop()
        os.write(write_end, b"c")
        assert reader.read(10) is None
    finally:
        os.close(read_end)
        os.close(write_end)


# --- named pipes ---------------------------------------------------------------------------------


class Overlapped:
    def __init__(self, data: bytes = b"", count: int = 0, error: int = 0) -> None:
        self._data, self._count, self._error = data, count, error

    def GetOverlappedResult(self, wait: bool) -> tuple[int, int]:  # noqa: N802 - Windows' name
        if self._error:
            raise _error(self._error)
        return self._count or len(self._data), 0

    def getbuffer(self) -> bytes:
        return self._data


def _error(code: int) -> OSError:
    made = OSError(code, "pipe")
    made.winerror = code  # type: ignore[attr-defined]  # Windows' field
    return made


class Winapi(types.SimpleNamespace):
    """messages: what the other end sends; an int is an error. written: what it got."""

    GENERIC_READ = GENERIC_WRITE = OPEN_EXISTING = FILE_FLAG_OVERLAPPED = NULL = 0

    def __init__(self, *messages: bytes | int, busy: int = 0) -> None:
        super().__init__()
        self.messages = list(messages)
        self.written: list[bytes] = []
        self.busy, self.waited, self.opened, self.closed = busy, 0, "", 0
        self.most = 4

    def CreateFile(self, name: str, *_: Any) -> int:  # noqa: N802
        self.opened = name
        if self.busy:
            self.busy -= 1
            raise _error(231)
        return 7

    def WaitNamedPipe(self, name: str, milliseconds: int) -> None:  # noqa: N802
        self.waited += 1

    def ReadFile(self, handle: int, size: int, overlapped: bool) -> tuple[Overlapped, int]:  # noqa: N802
        message = self.messages.pop(0)
        return (Overlapped(error=message), 0) if isinstance(message, int) else (Overlapped(message), 0)

    def WriteFile(self, handle: int, data: Any, overlapped: bool) -> tuple[Overlapped, int]:  # noqa: N802
        part = bytes(data)[: self.most]
        self.written.append(part)
        return Overlapped(count=len(part)), 0

    def PeekNamedPipe(self, handle: int) -> tuple[int, int]:  # noqa: N802
        first = self.messages[0] if self.messages else b""
        if isinstance(first, int):
            raise _error(first)
        return len(first), 0

    def CloseHandle(self, handle: int) -> None:  # noqa: N802
        self.closed += 1


def pipe(monkeypatch: pytest.MonkeyPatch, api: Winapi) -> Any:
    return load(monkeypatch, "engine/_windows.py", _winapi=api).PipeConnection.connect(
        "//./pipe/wherry-default"
    )


def test_a_pipe_reads_to_its_end_and_half_closes_with_an_empty_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    api = Winapi(b"abc", b"de", 109)
    connection = pipe(monkeypatch, api)
    assert api.opened == r"\\.\pipe\wherry-default"
    assert [connection.recv(10) for _ in range(3)] == [b"abc", b"de", b""]
    connection.sendall(b"0123456789")
    connection.close_write()
    assert api.written == [b"0123", b"4567", b"89", b""]
    connection.close()
    connection.close()
    assert api.closed == 1


def test_a_busy_pipe_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    api = Winapi(busy=1)
    pipe(monkeypatch, api)
    assert api.waited == 1
    with pytest.raises(OSError, match="pipe"):
        pipe(monkeypatch, Winapi(busy=2))


def test_an_idle_pipe_serves_again_until_the_engine_closes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pipe(monkeypatch, Winapi()).is_quiet()
    assert not pipe(monkeypatch, Winapi(b"late")).is_quiet()
    assert not pipe(monkeypatch, Winapi(109)).is_quiet()


# --- folders -------------------------------------------------------------------------------------


@pytest.fixture
def windows_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """unpack() with Windows' way into folders; links and junctions are told as this platform does."""
    module = load(monkeypatch, "engine/copying/_windows.py")
    if sys.platform != "win32":
        real = staticmethod(lambda path: stat.S_ISDIR(path.lstat().st_mode))
        monkeypatch.setattr(module.Folder, "_is_real_folder", real)
    monkeypatch.setattr(unpack_module, "Folder", module.Folder)


@pytest.mark.usefixtures("windows_folder")
def test_nothing_is_written_through_a_link_on_windows_either(tmp_path: Path) -> None:
    outside, target = tmp_path / "outside", tmp_path / "target"
    outside.mkdir()
    target.mkdir()
    try:
        (target / "there").symlink_to(outside, target_is_directory=True)
    except OSError:
        pytest.skip("this user may not make symbolic links")
    with pytest.raises(UsageProblem, match="is a link; nothing is written through it"):
        into(target, archive(("there/x", b"evil", {})))
    with pytest.raises(UsageProblem, match="cannot overwrite non-directory"):
        into(target, archive(folder("there")))
    into(target, archive(link("made", str(outside))))
    with pytest.raises(UsageProblem, match="is a link"):
        into(target, archive(("made/x", b"evil", {})))
    assert list(outside.iterdir()) == []


@pytest.mark.usefixtures("windows_folder")
def test_what_windows_cannot_have_is_named_and_the_rest_is_copied(tmp_path: Path) -> None:
    result = into(
        tmp_path,
        archive(
            folder("d"),
            ("d/a:b", b"1", {}),
            ("d/nul.txt", b"2", {}),
            ("d/good", b"3", {}),
            ("d/pipe", None, {"type": tarfile.FIFOTYPE}),
        ),
    )
    assert sorted(path.name for path in (tmp_path / "d").iterdir()) == ["good"]
    assert [entry.partition(":")[0] for entry in result.skipped] == ["d/a", "d/nul.txt", "d/pipe"]
    assert "Windows allows no ':'" in result.skipped[0]


@pytest.mark.usefixtures("windows_folder")
def test_a_read_only_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("old")
    (tmp_path / "f").chmod(0o444)
    into(tmp_path, archive(("f", b"new", {"mtime": 1_000_000})))
    assert ((tmp_path / "f").read_text(), (tmp_path / "f").stat().st_mtime) == ("new", 1_000_000)
