"""`wherry builder prune`."""

import click

from wherry.cli.command import engine, flag, long_filters_option, verb
from wherry.cli.confirm import QUESTION, confirm

WARNING = "WARNING! This will remove all dangling build cache. " + QUESTION
WARNING_ALL = "WARNING! This will remove all build cache. " + QUESTION


@verb("prune")
@flag("-a", "--all", "every", help="Remove all unused build cache, not just dangling ones.")
@long_filters_option
@flag("-f", "--force", help="Do not prompt for confirmation.")
@click.option("--keep-storage", default="", help="Amount of disk space to keep for cache.")
@click.pass_context
def prune(
    ctx: click.Context, every: bool, filters: list[tuple[str, str]], force: bool, keep_storage: str
) -> None:
    """Remove build cache."""
    from wherry.cli.pruning import BUILD_CACHE, show_total
    from wherry.engine.parse.values import size

    keep = str(size(keep_storage, "--keep-storage")) if keep_storage else None
    if not force:
        confirm("", WARNING_ALL if every else WARNING)
    # reserved-space is the name since API 1.48, keep-storage the one before.
    params = {"all": every or None, "reserved-space": keep, "keep-storage": keep}
    pruned = BUILD_CACHE.prune(engine(ctx), filters, params)
    pruned.show()
    show_total(pruned.reclaimed)
