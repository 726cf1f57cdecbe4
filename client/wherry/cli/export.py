"""`wherry export`."""

from pathlib import Path

import click

from wherry.cli import completing
from wherry.cli.command import engine, verb


@verb("export")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to a file, instead of STDOUT.")
@click.argument("container", shell_complete=completing.containers)
@click.pass_context
def export(ctx: click.Context, output: Path | None, container: str) -> None:
    """Export a container's filesystem as a tar archive."""
    from wherry.cli import destination
    from wherry.engine.client import segment

    destination.write(engine(ctx).chunks(f"/containers/{segment(container)}/export"), output)
