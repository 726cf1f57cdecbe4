"""`wherry container inspect`."""

import click

from wherry.cli import completing
from wherry.cli.command import engine, flag, verb


@verb("inspect")
@click.option("-f", "--format", "form", help="json or a Go template.")
@flag("-s", "--size", help="Display total file sizes.")
@click.argument(
    "containers", nargs=-1, required=True, metavar="CONTAINER...", shell_complete=completing.containers
)
@click.pass_context
def inspect(ctx: click.Context, form: str | None, size: bool, containers: tuple[str, ...]) -> int:
    """Display detailed information on one or more containers."""
    from wherry.cli.inspect import inspect_all

    return inspect_all(engine(ctx), containers, form, "container", {"size": size or None})
