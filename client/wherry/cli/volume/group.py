"""`wherry volume`: volumes of containers."""

from collections.abc import Mapping

import click

from wherry.cli.main import LazyGroup

VERBS: Mapping[str, str] = {
    verb: f"wherry.cli.volume.{module}:{verb}"
    for verb, module in {
        "create": "create",
        "inspect": "list_",
        "ls": "list_",
        "prune": "remove",
        "rm": "remove",
    }.items()
}


@click.group(cls=LazyGroup, lazy=VERBS, aliases={"list": "ls", "remove": "rm"})
def volume() -> None:
    """Manage volumes."""
