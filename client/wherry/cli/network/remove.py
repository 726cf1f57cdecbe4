"""`wherry network rm` and `prune`."""

import click

from wherry.cli.command import each, engine, filters_option, flag, verb
from wherry.errors import EngineProblem

WARNING = "WARNING! This will remove all custom networks not used by at least one container."


@verb("rm")
@flag("-f", "--force", help="Do not error if the network does not exist.")
@click.argument("networks", nargs=-1, required=True, metavar="NETWORK...")
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

    return each(networks, remove)


@verb("prune")
@filters_option
@flag("-f", "--force", help="Do not prompt for confirmation.")
@click.pass_context
def prune(ctx: click.Context, filters: list[tuple[str, str]], force: bool) -> None:
    """Remove all unused networks."""
    from wherry.cli.confirm import confirm
    from wherry.engine.client import filters as encoded

    if not force:
        confirm(WARNING)
    report = engine(ctx).post("/networks/prune", {"filters": encoded(filters)})
    deleted = report.get("NetworksDeleted") or []
    if deleted:
        click.echo("Deleted Networks:\n" + "\n".join(deleted) + "\n")
