"""`wherry unpause`."""

import click

from wherry.cli import completing
from wherry.cli.command import each, engine, verb


@verb("unpause")
@click.argument(
    "containers", nargs=-1, required=True, metavar="CONTAINER...", shell_complete=completing.paused
)
@click.pass_context
def unpause(ctx: click.Context, containers: tuple[str, ...]) -> int:
    """Unpause all processes within one or more containers."""
    from wherry.engine.client import segment

    client = engine(ctx)
    return each(containers, lambda name: client.post(f"/containers/{segment(name)}/unpause"))
