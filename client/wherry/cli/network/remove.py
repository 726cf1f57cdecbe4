"""`wherry network rm` and `prune`."""

import click

from wherry.cli import completing
from wherry.cli.command import each, engine, flag, long_filters_option, verb
from wherry.errors import EngineProblem

WARNING = "WARNING! This will remove all custom networks not used by at least one container."


@verb("rm")
@flag("-f", "--force", help="Do not error if the network does not exist.")
@click.argument("networks", nargs=-1, required=True, metavar="NETWORK...", shell_complete=completing.networks)
@click.pass_context
def rm(ctx: click.Context, force: bool, networks: tuple[str, ...]) -> int:
    """Remove one or more networks."""
    from wherry.engine.client import segment

    client = engine(ctx)

    def remove(name: str) -> None:
        try:
            client.delete(f"/networks/{segment(name)}")
        except EngineProblem as exc:
            if not (force and exc.status == 404):
                raise
        else:
            click.echo(name)

    return each(networks, remove, show=False)


@verb("prune")
@long_filters_option
@flag("-f", "--force", help="Do not prompt for confirmation.")
@click.pass_context
def prune(ctx: click.Context, filters: list[tuple[str, str]], force: bool) -> None:
    """Remove all unused networks."""
    from wherry.cli.confirm import confirm
    from wherry.cli.pruning import NETWORKS

    if not force:
        confirm(WARNING)
    NETWORKS.prune(engine(ctx), filters).show()
