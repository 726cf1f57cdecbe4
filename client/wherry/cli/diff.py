"""`wherry diff`."""

import click

from wherry.cli import completing
from wherry.cli.command import engine, verb

#: Kind of a change -> its letter. Source: Engine API, ContainerChanges.
LETTERS = ("C", "A", "D")


@verb("diff")
@click.argument("container", shell_complete=completing.containers)
@click.pass_context
def diff(ctx: click.Context, container: str) -> None:
    """Inspect changes to files or directories on a container's filesystem."""
    from wherry.engine.client import segment

    for change in engine(ctx).get(f"/containers/{segment(container)}/changes") or []:
        click.echo(f"{LETTERS[change['Kind']]} {change['Path']}")
