"""`wherry images`."""

import sys
from typing import Any

import click

from wherry.cli import completing
from wherry.cli.command import engine, filters_option, flag, print_text, verb
from wherry.errors import UsageProblem

COLUMNS = ("Repository", "Tag", "ID", "CreatedSince", "Size")
COLUMNS_WITH_DIGEST = ("Repository", "Tag", "Digest", "ID", "CreatedSince", "Size")


@verb("images")
@flag("-a", "--all", "show_all", help="Show all images (default hides intermediate images).")
@flag("--digests", help="Show digests.")
@filters_option
@click.option("--format", "form", help="table, json or a Go template.")
@flag("--no-trunc", help="Don't truncate output.")
@flag("-q", "--quiet", help="Only show image IDs.")
@flag("--tree", help="List multi-platform images as a tree.")
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
    tree: bool,
    repository: str | None,
) -> None:
    """List images."""
    if tree:
        given = {"quiet": quiet, "no-trunc": no_trunc, "show-digest": digests, "format": form}
        _tree(ctx, given, _wanted(filters, repository), show_all)
        return
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
    params: dict[str, Any] = {"filters": encoded(_wanted(filters, repository))}
    if show_all:
        params["all"] = True
    if digests or chosen.uses("Digest"):
        params["digests"] = True
    found = engine(ctx).get("/images/json", params)
    lines = rows(found, truncate=not no_trunc, digests=digests or chosen.uses("Digest"))
    print_text(render(chosen, lines, HEADERS))


def _wanted(filters: list[tuple[str, str]], repository: str | None) -> list[tuple[str, str]]:
    return filters + ([("reference", repository)] if repository else [])


def _tree(ctx: click.Context, given: dict[str, Any], wanted: list[tuple[str, str]], show_all: bool) -> None:
    """given: options that say how a table looks, which a tree has no use for; refused in docker's words."""
    from wherry.cli.output import imagetree
    from wherry.engine.client import filters as encoded

    for name, value in given.items():
        if value:
            raise UsageProblem(f"--{name} is not yet supported with --tree")
    params = {"filters": encoded(wanted), "manifests": True, "all": True if show_all else None}
    found = engine(ctx).get("/images/json", params)
    print_text(imagetree.render(found, color=sys.stdout.isatty()))
