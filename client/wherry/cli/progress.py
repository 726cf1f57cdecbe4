"""What pull, import and load report: bars on a terminal, plain lines elsewhere; and a bar for uploads."""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any, Protocol, TextIO

from wherry.engine.client import Readable
from wherry.engine.progress import Progress

#: Statuses after which a layer's bar is full, whatever its last line said.
_DONE = frozenset({"Download complete", "Pull complete", "Pushed"})


def show(lines: Iterable[Progress], out: TextIO) -> None:
    """Shows lines as they come. Raises EngineProblem at an error line; what came before stays visible."""
    if out.isatty():
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
    """One row per id; rows without an id scroll by above."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Task, TaskID, TextColumn
    from rich.progress import Progress as Bars
    from rich.text import Text

    class Bar(BarColumn):
        """Nothing where there is nothing to measure ("Waiting", "Already exists")."""

        def render(self, task: Task) -> Any:
            return super().render(task) if task.total is not None else Text()

    class Size(DownloadColumn):
        def render(self, task: Task) -> Text:
            return super().render(task) if task.total is not None or task.completed else Text()

    console = Console(file=out)
    rows: dict[str, TaskID] = {}
    columns = (TextColumn("{task.description}"), Bar(bar_width=40), Size())
    with Bars(*columns, console=console) as bars:
        for line in lines:
            if not line.id:
                console.out(_text(line), end="", highlight=False)
                continue
            if line.id not in rows:
                rows[line.id] = bars.add_task("", total=None)
            row = rows[line.id]
            bars.update(row, description=f"{line.id}: {line.status}")
            if line.has_bar:
                bars.update(row, completed=line.current, total=line.total or None)
            elif line.status in _DONE and (total := bars.tasks[row].total) is not None:
                bars.update(row, completed=total)


@contextmanager
def uploading(source: IO[bytes], title: str) -> Iterator[Readable]:
    """source itself, or one that draws a bar on stderr while it is read, if stderr is a terminal."""
    if not sys.stderr.isatty():
        yield source
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    total = os.fstat(source.fileno()).st_size or None
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    # transient: the result is printed afterwards, and the bar says nothing any more then.
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(title, total=total)
        yield _Counted(source, lambda count: bars.advance(task, count))


class _Counted:
    def __init__(self, source: IO[bytes], advance: "Advance") -> None:
        self._source = source
        self._advance = advance

    def read(self, size: int = -1, /) -> bytes:
        data = self._source.read(size)
        self._advance(len(data))
        return data


class Advance(Protocol):
    def __call__(self, count: int, /) -> None: ...
