"""Progress on stderr: a line with a running clock on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text


class Progress:
    """`begin` a step, then `done` with its seconds. quiet: say nothing (for --json)."""

    def __init__(self, *, quiet: bool, terminal: bool | None = None) -> None:
        self._quiet = quiet
        self._terminal = sys.stderr.isatty() if terminal is None else terminal
        self._live: Live | None = None
        self._step = ""
        self._began = 0.0

    def __enter__(self) -> Self:
        if self._terminal and not self._quiet:
            from rich.console import Console
            from rich.live import Live

            self._live = Live(
                get_renderable=self._line, console=Console(stderr=True), refresh_per_second=8, transient=True
            )
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._step = ""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def begin(self, step: str) -> None:
        self._step = step
        self._began = time.monotonic()

    def done(self, step: str, seconds: float) -> None:
        self._step = ""
        if self._quiet:
            return
        line = f"  {step:<16} {seconds:5.1f} s"
        if self._live is not None:
            self._live.console.print(line, highlight=False)
        else:
            click.echo(line, err=True)

    def _line(self) -> "Text":
        from rich.text import Text

        if not self._step:
            return Text("")
        return Text(f"  {self._step:<12} {time.monotonic() - self._began:5.1f} s ...")


class Steps:
    """A sequence of steps without known names: each ends when the next begins."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._current: tuple[str, float] | None = None

    def __call__(self, step: str) -> None:
        self.finish()
        self._current = (step, time.monotonic())
        self._progress.begin(step)

    def finish(self) -> None:
        if self._current is not None:
            step, began = self._current
            self._progress.done(step, time.monotonic() - began)
            self._current = None


Report = Callable[[str, float | None], None]


def stage_report(progress: Progress) -> Report:
    """The form in which bring_up reports."""

    def report(stage: str, seconds: float | None) -> None:
        if seconds is None:
            progress.begin(stage)
        else:
            progress.done(stage, seconds)

    return report
