"""Rows with bars on a terminal, one per layer. Imports rich, so it is imported when a terminal is there."""

from typing import TextIO

from rich.console import Console, RenderableType
from rich.progress import BarColumn, DownloadColumn, Task, TaskID, TextColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

from wherry.engine.progress import Progress

#: Statuses after which a layer's bar is full, whatever its last line said.
_DONE = frozenset({"Download complete", "Pull complete", "Pushed"})


class _Bar(BarColumn):
    """Nothing where there is nothing to measure ("Waiting", "Already exists")."""

    def render(self, task: Task) -> RenderableType:  # type: ignore[override]  # rich names its own bar only
        return super().render(task) if task.total is not None or task.completed else Text()


class _Size(DownloadColumn):
    def render(self, task: Task) -> Text:
        return super().render(task) if task.total is not None or task.completed else Text()


class Rows:
    """Drawn from the first `update` to `close`, after which they stay as they are; closing twice is fine."""

    def __init__(self, out: TextIO) -> None:
        columns = (TextColumn("{task.description}"), _Bar(bar_width=40), _Size())
        self._bars = RichProgress(*columns, console=Console(file=out))
        self._rows: dict[str, TaskID] = {}
        self._totals: dict[str, int] = {}
        self._bars.start()

    def update(self, line: Progress) -> None:
        """line: with an id."""
        text = f"{line.id}: {line.status}"
        if line.id not in self._rows:
            self._rows[line.id] = self._bars.add_task(text, total=None)
        row = self._rows[line.id]
        self._bars.update(row, description=text)
        if line.has_bar:
            self._totals[line.id] = line.total
            self._bars.update(row, completed=line.current, total=line.total or None)
        elif line.status in _DONE and self._totals.get(line.id):
            self._bars.update(row, completed=self._totals[line.id])

    def close(self) -> None:
        self._bars.stop()
