"""`wherry image`: the image verbs under their newer names."""

from collections.abc import Mapping

import click

from wherry.cli.main import LazyGroup

VERBS: Mapping[str, str] = {
    "build": "wherry.cli.build:build",
    "history": "wherry.cli.history:history",
    "import": "wherry.cli.import_:import_",
    "insert": "wherry.cli.insert:insert",
    "inspect": "wherry.cli.image.inspect:inspect",
    "load": "wherry.cli.load:load",
    "ls": "wherry.cli.images:images",
    "prune": "wherry.cli.image.prune:prune",
    "pull": "wherry.cli.pull:pull",
    "push": "wherry.cli.push:push",
    "rm": "wherry.cli.rmi:rmi",
    "save": "wherry.cli.save:save",
    "tag": "wherry.cli.tag:tag",
}


@click.group(cls=LazyGroup, lazy=VERBS, aliases={"list": "ls", "remove": "rm"})
def image() -> None:
    """Manage images."""
