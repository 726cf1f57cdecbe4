r"""One JSON value per line: progress and events of the Engine API, and our own event files.

Docker ends progress lines in ``\r\n`` and events in ``\n``; both are read. Lines are bounded, so that
a peer that never sends a newline cannot fill the memory.
"""

import json
from typing import Any

MAX_LINE_BYTES = 4 * 1024 * 1024


class LineError(ValueError):
    """A line is too long or is not JSON."""


def encode(value: Any) -> bytes:
    r"""One line, without blanks, ending in ``\n``."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


class Decoder:
    """Bytes in, values out. Blank lines are skipped."""

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._pending = bytearray()
        self._max = max_line_bytes

    def feed(self, data: bytes) -> list[Any]:
        """The values of the lines that are complete now. Raises LineError."""
        self._pending += data
        *lines, rest = self._pending.split(b"\n")
        self._pending = bytearray(rest)
        if len(rest) > self._max:
            raise LineError(f"line of more than {self._max} bytes")
        return [_parse(line) for line in lines if line.strip()]

    def finish(self) -> list[Any]:
        """What a last line without a newline held. Raises LineError if it was cut off."""
        rest, self._pending = bytes(self._pending), bytearray()
        return [_parse(rest)] if rest.strip() else []


def _parse(line: bytes | bytearray) -> Any:
    try:
        return json.loads(line)
    except ValueError as exc:
        raise LineError(f"not a JSON line: {bytes(line[:80])!r}") from exc
