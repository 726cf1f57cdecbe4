"""`wherry kill`."""

import click

from wherry.cli import completing
from wherry.cli.command import each, engine, verb


@verb("kill")
@click.option("-s", "--signal", help="Signal to send to the container (default KILL).")
@click.argument(
    "containers", nargs=-1, required=True, metavar="CONTAINER...", shell_complete=completing.running
)
@click.pass_context
def kill(ctx: click.Context, signal: str | None, containers: tuple[str, ...]) -> int:
    """Kill one or more running containers."""
    from wherry.engine.client import segment

    client = engine(ctx)
    params = {"signal": signal}
    return each(containers, lambda name: client.post(f"/containers/{segment(name)}/kill", params))
