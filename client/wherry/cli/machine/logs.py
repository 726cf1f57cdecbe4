"""`wherry machine logs`."""

import time
from pathlib import Path

import click

from wherry.cli.command import verb
from wherry.cli.machine.common import name_option, open_machine
from wherry.machine.serial import printable
from wherry.machine.store import Machine

POLL_SECONDS = 0.2


@verb("logs")
@name_option
@click.option("-f", "--follow", is_flag=True, help="Go on as lines come.")
@click.option(
    "--serial", "which", flag_value="serial", help="What the guest wrote while it booted (default)."
)
@click.option("--agent", "which", flag_value="agent", help="What the agent on this host said.")
@click.option("--events", "which", flag_value="events", help="The agent's events, as JSON lines.")
@click.option("--vagrant", "which", flag_value="vagrant", help="What Vagrant said when it last ran.")
def logs(name: str, follow: bool, which: str | None) -> None:
    """Show one of the machine's logs."""
    file = _file(open_machine(name), which or "serial")
    offset = _show(file, 0)
    while follow:
        time.sleep(POLL_SECONDS)
        offset = _show(file, offset)


def _file(machine: Machine, which: str) -> Path:
    return {
        "serial": machine.files.serial_log,
        "agent": machine.files.agent_log,
        "events": machine.files.events,
        "vagrant": machine.files.vagrant_log,
    }[which]


def _show(file: Path, offset: int) -> int:
    """Prints the complete lines from offset on; returns where the next ones begin."""
    try:
        with file.open("rb") as stream:
            if stream.seek(0, 2) < offset:  # begun anew
                offset = 0
            stream.seek(offset)
            data = stream.read()
    except FileNotFoundError:
        return 0
    complete = data[: data.rfind(b"\n") + 1]
    for line in complete.decode(errors="replace").splitlines():
        click.echo(printable(line))
    return offset + len(complete)
