"""`wherry pause`."""

import click

from wherry.cli import completing
from wherry.cli.command import each, engine, verb


@verb("pause")
@click.argument(
    "containers", nargs=-1, required=True, metavar="CONTAINER...", shell_complete=completing.pausable
)
@click.pass_context
def pause(ctx: click.Context, containers: tuple[str, ...]) -> int:
    """Pause all processes within one or more containers."""
    from wherry.engine.client import segment

    client = engine(ctx)
    return each(containers, lambda name: client.post(f"/containers/{segment(name)}/pause"))
