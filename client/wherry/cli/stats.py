"""`wherry stats`: what containers use, once or again and again."""

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from wherry.cli import completing
from wherry.cli.command import engine, flag, print_text, verb

if TYPE_CHECKING:
    from wherry.cli.output.format import Format
    from wherry.cli.watching import Watched

COLUMNS = ("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs")
#: Seconds between two pictures, which is how often engines measure.
REFRESH_SECONDS = 0.5
_HOME, _ERASE_LINE, _ERASE_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
_CLEAR = "\x1b[2J"


@verb("stats")
@flag("-a", "--all", "show_all", help="Show all containers (default shows just running).")
@click.option("--format", "form", help="table, json or a Go template.")
@flag("--no-stream", help="Disable streaming stats and only pull the first result.")
@flag("--no-trunc", help="Do not truncate output.")
@click.argument("containers", nargs=-1, metavar="[CONTAINER...]", shell_complete=completing.running)
@click.pass_context
def stats(
    ctx: click.Context,
    show_all: bool,
    form: str | None,
    no_stream: bool,
    no_trunc: bool,
    containers: tuple[str, ...],
) -> int:
    """Display a live stream of container(s) resource usage statistics."""
    from wherry.cli.output.format import choose
    from wherry.cli.watching import Watched

    chosen = choose(form, columns=COLUMNS, quiet=False, preference="statsFormat")
    client = engine(ctx)
    if no_stream:
        watched = Watched(client, containers, every=show_all, stream=False)
        _show(chosen, watched, truncate=not no_trunc)
        return watched.report()
    with Watched(client, containers, every=show_all, stream=True) as watched:
        with contextlib.suppress(KeyboardInterrupt):  # how one leaves: no message
            for _ in _pictures(watched):
                _show(chosen, watched, truncate=not no_trunc, again=True)
                if watched.over:
                    break
        return watched.report()


def _pictures(watched: "Watched") -> Iterator[None]:
    watched.wait_first()
    if sys.stdout.isatty():
        print_text(_CLEAR)
    while True:
        yield
        if not watched.over:
            watched.pause(REFRESH_SECONDS)


def _show(chosen: "Format", watched: "Watched", *, truncate: bool, again: bool = False) -> None:
    """again: over the picture before. Lines are rewritten, not the screen: nothing flickers."""
    from wherry.cli.output.format import render
    from wherry.cli.output.stats import HEADERS, row

    rows = [row(sample, truncate=truncate) for sample in watched.samples()]
    text = render(chosen, rows, HEADERS)
    if again and sys.stdout.isatty():
        text = _HOME + text.replace("\n", f"{_ERASE_LINE}\n") + _ERASE_BELOW
    print_text(text)
    sys.stdout.flush()
