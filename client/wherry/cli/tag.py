"""`wherry tag`."""

import click

from wherry.cli import completing, references
from wherry.cli.command import engine, verb


@verb("tag", options_first=True)
@click.argument("source", metavar="SOURCE_IMAGE[:TAG]", shell_complete=completing.images)
@click.argument("target", metavar="TARGET_IMAGE[:TAG]")
@click.pass_context
def tag(ctx: click.Context, source: str, target: str) -> None:
    """Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE."""
    from wherry.engine.client import segment

    name, label = references.split(target)
    engine(ctx).post(f"/images/{segment(source)}/tag", {"repo": name, "tag": label})
