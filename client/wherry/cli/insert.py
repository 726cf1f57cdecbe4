"""`wherry insert`: a file from a URL becomes a layer on an image; gone from Docker since 1.0."""

import sys

import click

from wherry.cli import completing
from wherry.cli.command import engine, verb


@verb("insert")
@click.argument("image", shell_complete=completing.images)
@click.argument("url")
@click.argument("path")
@click.pass_context
def insert(ctx: click.Context, image: str, url: str, path: str) -> None:
    """Insert a file from a URL into an image, at PATH; prints the new image's ID."""
    from wherry.cli import progress
    from wherry.engine.client import body_of, segment
    from wherry.engine.progress import read

    where = f"/images/{segment(image)}/insert"
    with engine(ctx).call("POST", where, {"url": url, "path": path}, stream=True) as answer:
        progress.show(read(body_of(answer)), sys.stdout)
