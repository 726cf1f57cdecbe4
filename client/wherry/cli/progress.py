"""What pull, import and load report: bars on a terminal, plain lines elsewhere; and a bar for uploads."""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import IOBase
from typing import Protocol, TextIO

from wherry.engine.client import Readable
from wherry.engine.progress import Progress


def show(lines: Iterable[Progress], out: TextIO, style: str | None = None) -> None:
    """Shows lines as they come. Raises EngineProblem at an error line; what came before stays visible.

    style: "tty" for bars also elsewhere, "plain" for none."""
    if style == "tty" or (out.isatty() and style != "plain"):
        _show_bars(lines, out)
        return
    for line in lines:
        if not line.has_bar:  # a moving bar says nothing in a file
            out.write(_text(line))
            out.flush()


def follow(lines: Iterable[Progress], out: TextIO | None) -> None:
    """`show`; without `out` only an error is heard of."""
    if out is not None:
        show(lines, out)
        return
    for _ in lines:
        pass  # read to the end: an error line raises


def _text(line: Progress) -> str:
    if line.stream:
        return line.stream
    if not line.status:
        return ""
    return f"{line.id}: {line.status}\n" if line.id else f"{line.status}\n"


def _show_bars(lines: Iterable[Progress], out: TextIO) -> None:
    """One row per id. A line without an id closes the rows above it, so that all stays in its order."""
    from wherry.cli.bars import Rows

    rows: Rows | None = None
    try:
        for line in lines:
            if line.id:
                rows = rows or Rows(out)
                rows.update(line)
            elif text := _text(line):
                if rows is not None:
                    rows.close()
                    rows = None
                out.write(text)
                out.flush()
    finally:
        if rows is not None:
            rows.close()


@contextmanager
def uploading(source: Readable, title: str, total: int | None = None) -> Iterator[Readable]:
    """source itself, or one that draws a bar on stderr while it is read, if stderr is a terminal.

    total: bytes; None asks the file.
    """
    if not sys.stderr.isatty():
        yield source
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    if total is None and isinstance(source, IOBase):
        total = os.fstat(source.fileno()).st_size or None
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    # transient: the result is printed afterwards, and the bar says nothing any more then.
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(title, total=total)
        yield Counted(source, lambda count: bars.advance(task, count))


@contextmanager
def counting(source: Readable, title: str, quiet: bool) -> Iterator["Counted"]:
    """source with a count of what was read; a line that counts on a terminal, unless quiet."""
    if quiet or not sys.stderr.isatty():
        yield Counted(source, lambda _: None)
        return
    with uploading(source, title) as shown:
        yield Counted(shown, lambda _: None)


class Counted:
    """A source that tells how much of it was read. count: bytes so far."""

    def __init__(self, source: Readable, advance: "Advance") -> None:
        self._source = source
        self._advance = advance
        self.count = 0

    def read(self, size: int = -1, /) -> bytes:
        data = self._source.read(size)
        self.count += len(data)
        self._advance(len(data))
        return data


class Advance(Protocol):
    def __call__(self, count: int, /) -> None: ...
