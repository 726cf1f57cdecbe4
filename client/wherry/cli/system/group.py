"""`wherry system`: the engine as a whole."""

from collections.abc import Mapping

import click

from wherry.cli.main import LazyGroup

VERBS: Mapping[str, str] = {
    "audit": "wherry.cli.system.audit:audit",
    "df": "wherry.cli.system.df:df",
    "dial-stdio": "wherry.cli.system.dial_stdio:dial_stdio",  # hidden
    "events": "wherry.cli.events:events",
    "info": "wherry.cli.info:info",
    "prune": "wherry.cli.system.prune:prune",
}


@click.group(cls=LazyGroup, lazy=VERBS)
def system() -> None:
    """Manage the engine."""
