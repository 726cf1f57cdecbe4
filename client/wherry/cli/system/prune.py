"""`wherry system prune`: everything that nothing uses, in one go."""

from collections.abc import Iterator

import click

from wherry.cli.command import engine, flag, long_filters_option, verb
from wherry.errors import UsageProblem


@verb("prune")
@flag("-a", "--all", "every", help="Remove all unused images not just dangling ones.")
@long_filters_option
@flag("-f", "--force", help="Do not prompt for confirmation.")
@flag("--volumes", help="Prune anonymous volumes.")
@click.pass_context
def prune(
    ctx: click.Context, every: bool, filters: list[tuple[str, str]], force: bool, volumes: bool
) -> None:
    """Remove unused data: containers, networks, images and build cache."""
    from wherry.cli.confirm import confirm
    from wherry.cli.pruning import BUILD_CACHE, CONTAINERS, IMAGES, NETWORKS, VOLUMES, dangling, show_total

    if volumes and any(key == "until" for key, _ in filters):
        raise UsageProblem('ERROR: The "until" filter is not supported with "--volumes"')
    if not force:
        confirm("\n".join(_warning(every, volumes, filters)))
    client = engine(ctx)
    steps = [(CONTAINERS, filters), (NETWORKS, filters)]
    if volumes:
        steps.append((VOLUMES, filters))
    steps.append((IMAGES, [*filters, dangling(every)]))
    reclaimed = 0
    for kind, wanted in steps:
        pruned = kind.prune(client, wanted)
        pruned.show()
        reclaimed += pruned.reclaimed
    # Labels mean nothing to the cache.
    cached = BUILD_CACHE.prune(
        client, [pair for pair in filters if pair[0] == "until"], {"all": every or None}
    )
    cached.show()
    show_total(reclaimed + cached.reclaimed)


def _warning(every: bool, volumes: bool, filters: list[tuple[str, str]]) -> Iterator[str]:
    yield "WARNING! This will remove:"
    yield "  - all stopped containers"
    yield "  - all networks not used by at least one container"
    if volumes:
        yield "  - all anonymous volumes not used by at least one container"
    yield (
        "  - all images without at least one container associated to them"
        if every
        else "  - all dangling images"
    )
    yield "  - all build cache" if every else "  - unused build cache"
    if filters:
        yield ""
        yield "  Items to be pruned will be filtered with:"
        yield from (f"  - {key}={value}" for key, value in sorted(filters))
    yield ""
