"""`wherry ps`: containers as Docker lists them."""

from typing import Any

import click

from wherry.cli.command import engine, filters_option, flag, print_text, verb

COLUMNS = ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names")


@verb("ps")
@flag("-a", "--all", "show_all", help="Show all containers (default shows just running).")
@filters_option
@click.option("--format", "form", help="table, json or a Go template.")
@click.option("-n", "--last", type=int, default=-1, help="Show n last created containers, in any state.")
@flag("-l", "--latest", help="Show the latest created container, in any state.")
@flag("--no-trunc", help="Don't truncate output.")
@flag("-q", "--quiet", help="Only display container IDs.")
@flag("-s", "--size", help="Display total file sizes.")
@click.pass_context
def ps(
    ctx: click.Context,
    show_all: bool,
    filters: list[tuple[str, str]],
    form: str | None,
    last: int,
    latest: bool,
    no_trunc: bool,
    quiet: bool,
    size: bool,
) -> None:
    """List containers."""
    from wherry.cli.output.containers import HEADERS, RAW, row
    from wherry.cli.output.format import choose, render
    from wherry.engine.client import filters as encoded

    if form and quiet:
        click.echo("WARNING: Ignoring custom format, because both --format and --quiet are set.", err=True)
    columns = (*COLUMNS, "Size") if size else COLUMNS
    chosen = choose(form, columns=columns, quiet=quiet, raw=RAW, preference="psFormat", only_quiet=True)
    params: dict[str, Any] = {"filters": encoded(filters)}
    if show_all:
        params["all"] = True
    if last > -1 or latest:
        params["limit"] = last if last > -1 else 1
    if size or chosen.uses("Size"):
        params["size"] = True
    found = engine(ctx).get("/containers/json", params)
    print_text(render(chosen, [row(item, truncate=not no_trunc) for item in found], HEADERS))
