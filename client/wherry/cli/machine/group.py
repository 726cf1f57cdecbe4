"""`wherry machine`: the VM that the containers run in."""

from collections.abc import Mapping

import click

from wherry.cli.main import LazyGroup

VERBS: Mapping[str, str] = {
    verb: f"wherry.cli.machine.{verb}:{function}"
    for verb, function in {
        "init": "init",
        "inspect": "inspect",
        "list": "list_",
        "logs": "logs",
        "restart": "restart",
        "rm": "rm",
        "set": "set_",
        "ssh": "ssh",
        "start": "start",
        "status": "status",
        "stop": "stop",
    }.items()
}


@click.group(cls=LazyGroup, lazy=VERBS)
def machine() -> None:
    """Make, start, stop and look after the virtual machine."""
