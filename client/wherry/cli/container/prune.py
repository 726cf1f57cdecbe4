"""`wherry container prune`."""

import click

from wherry.cli.command import engine, flag, long_filters_option, verb

WARNING = "WARNING! This will remove all stopped containers."


@verb("prune")
@long_filters_option
@flag("-f", "--force", help="Do not prompt for confirmation.")
@click.pass_context
def prune(ctx: click.Context, filters: list[tuple[str, str]], force: bool) -> None:
    """Remove all stopped containers."""
    from wherry.cli.confirm import confirm
    from wherry.cli.pruning import CONTAINERS, show_total

    if not force:
        confirm(WARNING)
    pruned = CONTAINERS.prune(engine(ctx), filters)
    pruned.show()
    show_total(pruned.reclaimed)
