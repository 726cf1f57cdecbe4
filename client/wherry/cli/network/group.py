"""`wherry network`: networks of containers."""

from collections.abc import Mapping

import click

from wherry.cli.main import LazyGroup

VERBS: Mapping[str, str] = {
    verb: f"wherry.cli.network.{module}:{verb}"
    for verb, module in {
        "connect": "connect",
        "create": "create",
        "disconnect": "connect",
        "inspect": "list_",
        "ls": "list_",
        "prune": "remove",
        "rm": "remove",
    }.items()
}


@click.group(cls=LazyGroup, lazy=VERBS, aliases={"list": "ls", "remove": "rm"})
def network() -> None:
    """Manage networks."""
