"""Following what the guest writes on its serial port, a file that the hypervisor appends to."""

from pathlib import Path

from wherrywire.serialline import SerialEvent, parse

#: How the kernel begins its last words. Source: Linux, kernel/panic.c.
PANIC = "Kernel panic - not syncing"
#: A guest that never ends a line must not fill the memory.
MAX_LINE_BYTES = 64 * 1024


class SerialReader:
    """Reads what has been added since the last call. A file that is not there yet is just empty."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._offset = 0
        self._pending = b""
        self.panic = ""

    def poll(self) -> list[SerialEvent]:
        """The events of the lines that have become complete. `panic` is then what the kernel's last words
        were, if it has spoken them.
        """
        try:
            with self._file.open("rb") as stream:
                if stream.seek(0, 2) < self._offset:  # truncated: the VM has been started again
                    self._offset, self._pending = 0, b""
                stream.seek(self._offset)
                data = stream.read()
                self._offset = stream.tell()
        except FileNotFoundError:
            return []
        *lines, rest = (self._pending + data).split(b"\n")
        self._pending = rest[-MAX_LINE_BYTES:]
        texts = [line.decode(errors="replace") for line in lines]
        self.panic = next((text[text.index(PANIC) :].strip() for text in texts if PANIC in text), self.panic)
        events = (parse(text) for text in texts)
        return [event for event in events if event is not None]


def tail(file: Path, lines: int = 12) -> str:
    """The last lines of a log, "" when there is none. After a kernel panic these are the lines around it:
    what follows is registers. Control characters are left out, so that what a guest prints cannot move the
    user's cursor.
    """
    try:
        with file.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, 2) - 16 * 1024))
            text = stream.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    kept = [line for line in map(printable, text.splitlines()) if line.strip()]
    panics = [number for number, line in enumerate(kept) if PANIC in line]
    if panics:
        kept = kept[: panics[-1] + 3]
    return "\n".join(kept[-lines:])


def printable(line: str) -> str:
    return "".join(character for character in line if character.isprintable() or character == "\t")
