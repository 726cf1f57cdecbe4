"""`wherry stop`."""

import click

from wherry.cli import completing
from wherry.cli.command import each, engine, verb


@verb("stop")
@click.option("-s", "--signal", help="Signal to send to the container.")
@click.option("-t", "--timeout", "--time", type=int, help="Seconds to wait before killing the container.")
@click.argument(
    "containers", nargs=-1, required=True, metavar="CONTAINER...", shell_complete=completing.running
)
@click.pass_context
def stop(ctx: click.Context, signal: str | None, timeout: int | None, containers: tuple[str, ...]) -> int:
    """Stop one or more running containers."""
    from wherry.engine.client import segment

    client = engine(ctx)
    params = {"signal": signal, "t": timeout}
    return each(containers, lambda name: client.post(f"/containers/{segment(name)}/stop", params))
