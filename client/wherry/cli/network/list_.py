"""`wherry network ls` and `inspect`."""

import click

from wherry.cli import completing
from wherry.cli.command import engine, filters_option, flag, print_text, verb

COLUMNS = ("ID", "Name", "Driver", "Scope")


@verb("ls")
@filters_option
@click.option("--format", "form", help="table, json or a Go template.")
@flag("--no-trunc", help="Do not truncate the output.")
@flag("-q", "--quiet", help="Only display network IDs.")
@click.pass_context
def ls(
    ctx: click.Context, filters: list[tuple[str, str]], form: str | None, no_trunc: bool, quiet: bool
) -> None:
    """List networks."""
    from wherry.cli.output.format import choose, render
    from wherry.cli.output.networks import HEADERS, RAW, rows
    from wherry.engine.client import filters as encoded

    chosen = choose(form, columns=COLUMNS, quiet=quiet, raw=RAW, preference="networksFormat")
    found = engine(ctx).get("/networks", {"filters": encoded(filters)})
    print_text(render(chosen, rows(found, truncate=not no_trunc), HEADERS))


@verb("inspect")
@click.option("-f", "--format", "form", help="json or a Go template.")
@flag("-v", "--verbose", help="Verbose output for diagnostics.")
@click.argument("networks", nargs=-1, required=True, metavar="NETWORK...", shell_complete=completing.networks)
@click.pass_context
def inspect(ctx: click.Context, form: str | None, verbose: bool, networks: tuple[str, ...]) -> int:
    """Display detailed information on one or more networks."""
    from wherry.cli.inspect import inspect_all

    return inspect_all(engine(ctx), networks, form, "network", {"verbose": verbose or None})
