"""`wherry image prune`."""

import click

from wherry.cli.command import engine, flag, long_filters_option, verb

WARNING = "WARNING! This will remove all dangling images."
WARNING_ALL = "WARNING! This will remove all images without at least one container associated to them."


@verb("prune")
@flag("-a", "--all", "every", help="Remove all unused images, not just dangling ones.")
@long_filters_option
@flag("-f", "--force", help="Do not prompt for confirmation.")
@click.pass_context
def prune(ctx: click.Context, every: bool, filters: list[tuple[str, str]], force: bool) -> None:
    """Remove unused images."""
    from wherry.cli.confirm import confirm
    from wherry.cli.pruning import IMAGES, dangling, show_total

    if not force:
        confirm(WARNING_ALL if every else WARNING)
    pruned = IMAGES.prune(engine(ctx), [*filters, dangling(every)])
    pruned.show()
    show_total(pruned.reclaimed)
