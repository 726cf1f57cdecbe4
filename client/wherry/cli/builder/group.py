"""`wherry builder`: builds and their cache."""

from collections.abc import Mapping

import click

from wherry.cli.main import LazyGroup

VERBS: Mapping[str, str] = {
    "build": "wherry.cli.build:build",
    "prune": "wherry.cli.builder.prune:prune",
}


@click.group(cls=LazyGroup, lazy=VERBS)
def builder() -> None:
    """Manage builds."""
