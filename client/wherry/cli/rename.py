"""`wherry rename`."""

import click

from wherry.cli import completing
from wherry.cli.command import engine, verb
from wherry.errors import EngineProblem


@verb("rename")
@click.argument("container", shell_complete=completing.containers)
@click.argument("new_name")
@click.pass_context
def rename(ctx: click.Context, container: str, new_name: str) -> None:
    """Rename a container."""
    from wherry.engine.client import segment

    try:
        engine(ctx).post(f"/containers/{segment(container)}/rename", {"name": new_name})
    except EngineProblem as exc:
        exc.add_note(f"Error: failed to rename container named {container}")
        raise
