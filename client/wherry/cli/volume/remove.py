"""`wherry volume rm` and `prune`."""

import click

from wherry.cli import completing
from wherry.cli.command import each, engine, flag, long_filters_option, verb

WARNING = "WARNING! This will remove anonymous local volumes not used by at least one container."
WARNING_ALL = "WARNING! This will remove all local volumes not used by at least one container."


@verb("rm")
@flag("-f", "--force", help="Force the removal of one or more volumes.")
@click.argument("volumes", nargs=-1, required=True, metavar="VOLUME...", shell_complete=completing.volumes)
@click.pass_context
def rm(ctx: click.Context, force: bool, volumes: tuple[str, ...]) -> int:
    """Remove one or more volumes."""
    from wherry.engine.client import segment

    client = engine(ctx)
    return each(volumes, lambda name: client.delete(f"/volumes/{segment(name)}", {"force": force or None}))


@verb("prune")
@flag("-a", "--all", "every", help="Remove all unused volumes, not just anonymous ones.")
@long_filters_option
@flag("-f", "--force", help="Do not prompt for confirmation.")
@click.pass_context
def prune(ctx: click.Context, every: bool, filters: list[tuple[str, str]], force: bool) -> None:
    """Remove unused local volumes."""
    from wherry.cli.confirm import confirm
    from wherry.cli.pruning import VOLUMES, show_total

    if not force:
        confirm(WARNING_ALL if every else WARNING)
    pruned = VOLUMES.prune(engine(ctx), [*filters, ("all", "true")] if every else filters)
    pruned.show()
    show_total(pruned.reclaimed)
