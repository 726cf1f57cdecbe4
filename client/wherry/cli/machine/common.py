"""What the verbs share: their options, and finding the machine."""

import json
from collections.abc import Callable
from typing import Any, TypeVar

import click

from wherry.cli import completing
from wherry.machine import store
from wherry.machine.record import check_name
from wherry.machine.store import Machine
from wherry.paths import paths

F = TypeVar("F", bound=Callable[..., Any])


def name_option(function: F) -> F:
    return click.option(
        "--name",
        default="default",
        show_default=True,
        metavar="NAME",
        help="Which machine.",
        shell_complete=completing.machines,
    )(function)


def json_option(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(function)


def open_machine(name: str) -> Machine:
    """Raises NoSuchMachine, UsageProblem, MissingTool or MachineProblem."""
    return store.load(paths(), check_name(name))


def show_json(document: Any) -> None:
    click.echo(json.dumps(document, indent=2))


def option_for(name: str) -> str:
    """How the name is written in a command that the user may copy."""
    return "" if name == "default" else f" --name {name}"
