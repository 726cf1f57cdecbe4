"""`wherry save`."""

from pathlib import Path

import click

from wherry.cli import completing
from wherry.cli.command import engine, verb


@verb("save")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to a file, instead of STDOUT.")
@click.option("--platform", help="Save only the given platform variant: os/arch[/variant].")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...", shell_complete=completing.images)
@click.pass_context
def save(ctx: click.Context, output: Path | None, platform: str | None, images: tuple[str, ...]) -> None:
    """Save one or more images to a tar archive (streamed to STDOUT by default)."""
    from wherry.cli import destination, references

    wanted = {"names": list(images), "platform": references.platform(platform) if platform else None}
    destination.write(engine(ctx).chunks("/images/get", wanted), output)
