"""`wherry rm`."""

import click

from wherry.cli import completing
from wherry.cli.command import each, engine, flag, verb
from wherry.errors import EngineProblem


@verb("rm")
@flag("-f", "--force", help="Force the removal of a running container (uses SIGKILL).")
@flag("-l", "--link", help="Remove the specified link.")
@flag("-v", "--volumes", help="Remove anonymous volumes associated with the container.")
@click.argument(
    "containers", nargs=-1, required=True, metavar="CONTAINER...", shell_complete=completing.containers
)
@click.pass_context
def rm(ctx: click.Context, force: bool, link: bool, volumes: bool, containers: tuple[str, ...]) -> int:
    """Remove one or more containers."""
    from wherry.engine.client import segment

    client = engine(ctx)
    params = {"force": force or None, "link": link or None, "v": volumes or None}

    def remove(name: str) -> None:
        try:
            client.delete(f"/containers/{segment(name.strip('/'))}", params)
        except EngineProblem as exc:
            # Forced, the aim is that it is gone, and it is: told, but no failure.
            if not (force and exc.status == 404):
                raise
            click.echo(exc, err=True)
        else:
            click.echo(name)

    return each(containers, remove, show=False)
