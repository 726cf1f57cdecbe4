"""`wherry machine inspect`."""

from typing import Any

import click

from wherry.cli.command import verb
from wherry.cli.machine.common import name_option, open_machine, show_json
from wherry.cli.machine.report import summary
from wherry.errors import MachineProblem
from wherry.machine.store import Machine


@verb("inspect")
@name_option
@click.option("--json", "as_json", is_flag=True, hidden=True)  # it is JSON anyway
def inspect(name: str, as_json: bool) -> None:  # noqa: ARG001
    """Print all there is to know about the machine, as JSON."""
    machine = open_machine(name)
    show_json(
        {
            **summary(machine),
            "record": machine.record.to_json(),
            "ssh": _ssh(machine),
            "files": _files(machine),
        }
    )


def _ssh(machine: Machine) -> dict[str, Any] | None:
    """None for a machine that the hypervisor has lost."""
    try:
        endpoint = machine.provider.ssh_endpoint()
    except MachineProblem:
        return None
    return {
        "host": endpoint.host,
        "port": endpoint.port,
        "user": "wherry",
        "private_key": str(machine.files.private_key),
        "known_hosts": str(machine.files.known_hosts),
    }


def _files(machine: Machine) -> dict[str, str]:
    files = machine.files
    return {
        "folder": str(files.folder),
        "socket": str(files.socket),
        "serial_log": str(files.serial_log),
        "agent_log": str(files.agent_log),
        "events": str(files.events),
        "data_disk": str(files.data_disk),
    }
