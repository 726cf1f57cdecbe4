"""`wherry context`: docker's contexts, in docker's own files."""

from collections.abc import Mapping

import click

from wherry.cli.main import LazyGroup

VERBS: Mapping[str, str] = {
    "create": "wherry.cli.context.create:create",
    "export": "wherry.cli.context.archive:export",
    "import": "wherry.cli.context.archive:import_",
    "inspect": "wherry.cli.context.inspect:inspect",
    "ls": "wherry.cli.context.list_:list_",
    "rm": "wherry.cli.context.remove:remove",
    "show": "wherry.cli.context.use:show",
    "update": "wherry.cli.context.create:update",
    "use": "wherry.cli.context.use:use",
}


@click.group(cls=LazyGroup, lazy=VERBS, aliases={"list": "ls", "remove": "rm"})
def context() -> None:
    """Manage contexts: names for engines, shared with the docker command."""
