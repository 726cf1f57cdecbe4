"""`wherry rmi`."""

import click

from wherry.cli import completing
from wherry.cli.command import each, engine, flag, verb
from wherry.errors import EngineProblem, UsageProblem


@verb("rmi")
@flag("-f", "--force", help="Force removal of the image.")
@flag("--no-prune", help="Do not delete untagged parents.")
@click.option(
    "--platform",
    "platforms",
    multiple=True,
    help="Remove only the given platform variant: os/arch[/variant].",
)
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...", shell_complete=completing.images)
@click.pass_context
def rmi(
    ctx: click.Context, force: bool, no_prune: bool, platforms: tuple[str, ...], images: tuple[str, ...]
) -> int:
    """Remove one or more images."""
    from wherry.cli import references
    from wherry.engine.client import segment

    client = engine(ctx)
    if platforms and client.api_version < (1, 50):
        raise UsageProblem(
            "--platform needs an engine of API 1.50 or newer, or the whole image would go; leave it out"
        )
    wanted = [references.platform(each) for text in platforms for each in text.split(",")]
    params = {"force": force or None, "noprune": no_prune or None, "platforms": wanted or None}

    def remove(name: str) -> None:
        try:
            removed = client.delete(f"/images/{segment(name)}", params)
        except EngineProblem as exc:
            # Forced, the aim is that it is gone, and it is: told, but no failure.
            if not (force and exc.status == 404):
                raise
            click.echo(exc, err=True)
            return
        for entry in removed:
            for word in ("Deleted", "Untagged"):
                if entry.get(word):
                    click.echo(f"{word}: {entry[word]}")

    return each(images, remove, show=False)
