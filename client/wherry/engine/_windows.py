"""Named pipes on Windows, as a connection.

Overlapped I/O throughout: on a synchronous handle a blocked read would hold up every write, and attach
needs both at once. The half-close is a message of length zero, as Docker's pipe listener expects it
(the pipe must be in message mode; on a byte-mode pipe there is no half-close).
"""

import sys

assert sys.platform == "win32"  # noqa: S101 - named pipes exist on Windows only; the type checker knows this form

import _winapi  # noqa: E402

ERROR_PIPE_BUSY = 231
ERROR_MORE_DATA = 234
ERROR_BROKEN_PIPE = 109
ERROR_NO_DATA = 232
ERROR_OPERATION_ABORTED = 995
#: Milliseconds to wait for a free instance of the pipe.
BUSY_WAIT_MS = 2_000


class PipeConnection:
    """One client end of a named pipe. Reading and writing may happen in two threads."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._closed = False
        self._rest = b""

    @classmethod
    def connect(cls, path: str) -> "PipeConnection":
        r"""path: `//./pipe/name`. Raises OSError (FileNotFoundError if nobody serves it)."""
        name = path.replace("/", "\\")
        for attempt in (1, 2):
            try:
                handle = _winapi.CreateFile(
                    name,
                    _winapi.GENERIC_READ | _winapi.GENERIC_WRITE,
                    0,
                    _winapi.NULL,
                    _winapi.OPEN_EXISTING,
                    _winapi.FILE_FLAG_OVERLAPPED,
                    _winapi.NULL,
                )
                return cls(handle)
            except OSError as exc:
                if exc.winerror != ERROR_PIPE_BUSY or attempt == 2:
                    raise
                _winapi.WaitNamedPipe(name, BUSY_WAIT_MS)
        raise AssertionError("unreachable")

    def recv(self, size: int, /) -> bytes:
        """Up to size bytes; b"" at the end. A message longer than size is handed out in parts."""
        if self._rest:
            part, self._rest = self._rest[:size], self._rest[size:]
            return part
        try:
            pending, error = _winapi.ReadFile(self._handle, size, overlapped=True)
            _, error = pending.GetOverlappedResult(True)
        except OSError as exc:
            if exc.winerror in {ERROR_BROKEN_PIPE, ERROR_OPERATION_ABORTED}:
                return b""
            raise
        del error  # ERROR_MORE_DATA: the rest of the message comes with the next read
        return bytes(pending.getbuffer() or b"")

    def sendall(self, data: bytes, /) -> None:
        view = memoryview(data)
        while view:
            view = view[self._write(view) :]

    def _write(self, data: bytes | memoryview) -> int:
        pending, _ = _winapi.WriteFile(self._handle, data, overlapped=True)
        written, _ = pending.GetOverlappedResult(True)
        return written

    def close_write(self) -> None:
        self._write(b"")

    def is_quiet(self) -> bool:
        try:
            waiting, *_ = _winapi.PeekNamedPipe(self._handle)
        except OSError:
            return False  # the engine has closed it
        return waiting == 0

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            _winapi.CloseHandle(self._handle)


def pipe_is_quiet(descriptor: int) -> bool:
    """Whether nothing waits in an anonymous pipe, and its other end is there."""
    import msvcrt

    try:
        waiting, *_ = _winapi.PeekNamedPipe(msvcrt.get_osfhandle(descriptor))
    except OSError:
        return False
    return waiting == 0
