"""`wherry container`: the container verbs, under one name."""

from collections.abc import Mapping

import click

from wherry.cli.main import COMMANDS, LazyGroup

_SAME = (
    *("attach", "commit", "cp", "create", "diff", "exec", "export", "kill", "logs", "pause", "port"),
    *("rename", "restart", "rm", "run", "start", "stats", "stop", "top", "unpause", "update", "wait"),
)
VERBS: Mapping[str, str] = {
    **{verb: COMMANDS[verb] for verb in _SAME},
    "inspect": "wherry.cli.container.inspect:inspect",
    "ls": "wherry.cli.ps:ps",
    "prune": "wherry.cli.container.prune:prune",
}


@click.group(cls=LazyGroup, lazy=VERBS, aliases={"list": "ls", "ps": "ls", "remove": "rm"})
def container() -> None:
    """Manage containers."""
