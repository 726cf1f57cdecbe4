"""`wherry images`."""

from typing import Any

import click

from wherry.cli import completing
from wherry.cli.command import engine, filters_option, flag, print_text, refused, verb

COLUMNS = ("Repository", "Tag", "ID", "CreatedSince", "Size")
COLUMNS_WITH_DIGEST = ("Repository", "Tag", "Digest", "ID", "CreatedSince", "Size")


@verb("images")
@flag("-a", "--all", "show_all", help="Show all images (default hides intermediate images).")
@flag("--digests", help="Show digests.")
@filters_option
@click.option("--format", "form", help="table, json or a Go template.")
@flag("--no-trunc", help="Don't truncate output.")
@flag("-q", "--quiet", help="Only show image IDs.")
@refused("--tree", reason="it is experimental in docker; use --no-trunc or inspect", switch=True)
@click.argument(
    "repository", required=False, metavar="[REPOSITORY[:TAG]]", shell_complete=completing.repositories
)
@click.pass_context
def images(
    ctx: click.Context,
    show_all: bool,
    digests: bool,
    filters: list[tuple[str, str]],
    form: str | None,
    no_trunc: bool,
    quiet: bool,
    repository: str | None,
) -> None:
    """List images."""
    from wherry.cli.output.format import choose, render
    from wherry.cli.output.images import HEADERS, RAW, rows
    from wherry.engine.client import filters as encoded

    chosen = choose(
        form,
        columns=COLUMNS_WITH_DIGEST if digests else COLUMNS,
        quiet=quiet,
        raw=RAW,
        preference="imagesFormat",
    )
    wanted = filters + ([("reference", repository)] if repository else [])
    params: dict[str, Any] = {"filters": encoded(wanted)}
    if show_all:
        params["all"] = True
    if digests or chosen.uses("Digest"):
        params["digests"] = True
    found = engine(ctx).get("/images/json", params)
    lines = rows(found, truncate=not no_trunc, digests=digests or chosen.uses("Digest"))
    print_text(render(chosen, lines, HEADERS))
