"""`wherry tag`."""

import click

from wherry.cli import completing, references
from wherry.cli.command import engine, verb
from wherry.errors import UsageProblem


@verb("tag", options_first=True)
@click.argument("source", metavar="SOURCE_IMAGE[:TAG]", shell_complete=completing.images)
@click.argument("target", metavar="TARGET_IMAGE[:TAG]")
@click.pass_context
def tag(ctx: click.Context, source: str, target: str) -> None:
    """Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE."""
    from wherry.engine.client import segment

    try:
        references.check(target)
    except UsageProblem as exc:
        text = f'Error parsing reference: "{target}" is not a valid repository/tag: {exc}'
        raise UsageProblem(text) from exc
    name, label = references.split(target)
    engine(ctx).post(f"/images/{segment(source)}/tag", {"repo": name, "tag": label})
