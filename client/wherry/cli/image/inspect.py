"""`wherry image inspect`."""

import click

from wherry.cli import completing
from wherry.cli.command import engine, verb


@verb("inspect")
@click.option("-f", "--format", "form", help="json or a Go template.")
@click.option("--platform", help="Inspect the given platform of a multi-platform image.")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...", shell_complete=completing.images)
@click.pass_context
def inspect(ctx: click.Context, form: str | None, platform: str | None, images: tuple[str, ...]) -> int:
    """Display detailed information on one or more images."""
    from wherry.cli import references
    from wherry.cli.inspect import inspect_all

    params = {"platform": references.platform(platform) if platform else None}
    return inspect_all(engine(ctx), images, form, "image", params)
