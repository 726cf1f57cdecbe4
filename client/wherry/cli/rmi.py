"""`wherry rmi`."""

import click

from wherry.cli import completing
from wherry.cli.command import each, engine, flag, refused, verb


@verb("rmi")
@flag("-f", "--force", help="Force removal of the image.")
@flag("--no-prune", help="Do not delete untagged parents.")
@refused("--platform", reason="an image is kept for one platform only; leave it out to remove it")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...", shell_complete=completing.images)
@click.pass_context
def rmi(ctx: click.Context, force: bool, no_prune: bool, images: tuple[str, ...]) -> int:
    """Remove one or more images."""
    from wherry.engine.client import segment

    client = engine(ctx)
    params = {"force": force or None, "noprune": no_prune or None}

    def remove(name: str) -> None:
        for entry in client.delete(f"/images/{segment(name)}", params):
            for word in ("Deleted", "Untagged"):
                if entry.get(word):
                    click.echo(f"{word}: {entry[word]}")

    return each(images, remove, show=False)
