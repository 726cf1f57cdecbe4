"""`wherry volume ls` and `inspect`."""

import click

from wherry.cli import completing
from wherry.cli.command import engine, filters_option, flag, print_text, refused, verb

COLUMNS = ("Driver", "Name")


@verb("ls")
@refused("--cluster", reason="it is for the volumes of a swarm, and this is one host", switch=True)
@filters_option
@click.option("--format", "form", help="table, json or a Go template.")
@flag("-q", "--quiet", help="Only display volume names.")
@click.pass_context
def ls(ctx: click.Context, filters: list[tuple[str, str]], form: str | None, quiet: bool) -> None:
    """List volumes."""
    from wherry.cli.output.format import choose, render
    from wherry.cli.output.volumes import HEADERS, RAW, rows
    from wherry.engine.client import filters as encoded

    chosen = choose(
        form, columns=COLUMNS, quiet=quiet, raw=RAW, preference="volumesFormat", quiet_column="Name"
    )
    found = engine(ctx).get("/volumes", {"filters": encoded(filters)})
    print_text(render(chosen, rows(found.get("Volumes") or []), HEADERS))


@verb("inspect")
@click.option("-f", "--format", "form", help="json or a Go template.")
@click.argument("volumes", nargs=-1, required=True, metavar="VOLUME...", shell_complete=completing.volumes)
@click.pass_context
def inspect(ctx: click.Context, form: str | None, volumes: tuple[str, ...]) -> int:
    """Display detailed information on one or more volumes."""
    from wherry.cli.inspect import inspect_all

    return inspect_all(engine(ctx), volumes, form, "volume")
