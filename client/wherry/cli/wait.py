"""`wherry wait`."""

import click

from wherry.cli import completing
from wherry.cli.command import each, engine, verb


@verb("wait")
@click.argument(
    "containers", nargs=-1, required=True, metavar="CONTAINER...", shell_complete=completing.containers
)
@click.pass_context
def wait(ctx: click.Context, containers: tuple[str, ...]) -> int:
    """Block until one or more containers stop, then print their exit codes."""
    from wherry.engine.client import segment

    client = engine(ctx)

    def one(name: str) -> None:
        click.echo(client.post(f"/containers/{segment(name)}/wait")["StatusCode"])

    return each(containers, one, show=False)
