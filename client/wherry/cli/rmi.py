"""`wherry rmi`."""

import click

from wherry.cli.command import each, engine, flag, texts, verb


@verb("rmi")
@flag("-f", "--force", help="Force removal of the image.")
@flag("--no-prune", help="Do not delete untagged parents.")
@texts("--platform", help="Remove only the given platform variant: os/arch[/variant].")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.pass_context
def rmi(
    ctx: click.Context, force: bool, no_prune: bool, platform: tuple[str, ...], images: tuple[str, ...]
) -> int:
    """Remove one or more images."""
    from wherry.cli import references
    from wherry.engine.client import Params, segment

    client = engine(ctx)
    params: Params = {
        "force": force or None,
        "noprune": no_prune or None,
        "platforms": references.platforms(platform),
    }

    def remove(name: str) -> None:
        for entry in client.delete(f"/images/{segment(name)}", params):
            for word in ("Deleted", "Untagged"):
                if entry.get(word):
                    click.echo(f"{word}: {entry[word]}")

    return each(images, remove, show=False)
