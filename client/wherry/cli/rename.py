"""`wherry rename`."""

import click

from wherry.cli.command import engine, verb


@verb("rename")
@click.argument("container")
@click.argument("name", metavar="NEW_NAME")
@click.pass_context
def rename(ctx: click.Context, container: str, name: str) -> None:
    """Rename a container."""
    from wherry.engine.client import segment

    engine(ctx).post(f"/containers/{segment(container)}/rename", {"name": name})
