"""`wherry commit`."""

import click

from wherry.cli import completing, references
from wherry.cli.command import engine, flag, texts, verb


@verb("commit", options_first=True)
@click.option("-a", "--author", help='Author (e.g., "John Hannibal Smith <hannibal@a-team.com>").')
@texts("-c", "--change", "changes", help="Apply a Dockerfile instruction to the created image.")
@click.option("-m", "--message", help="Commit message.")
@flag("-p", "--pause", default=True, help="Pause container during commit (default true).")
@click.argument("container", shell_complete=completing.containers)
@click.argument("reference", required=False, metavar="[REPOSITORY[:TAG]]")
@click.pass_context
def commit(
    ctx: click.Context,
    author: str | None,
    changes: tuple[str, ...],
    message: str | None,
    pause: bool,
    container: str,
    reference: str | None,
) -> None:
    """Create a new image from a container's changes."""
    params: dict[str, str | bool | list[str] | None] = {
        "container": container,
        "comment": message,
        "author": author,
        "changes": list(changes),
        "pause": None if pause else False,
    }
    if reference:
        params["repo"], params["tag"] = references.split(reference)
    click.echo(engine(ctx).post("/commit", params)["Id"])
