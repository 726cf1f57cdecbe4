"""`wherry machine restart`."""

from wherry.cli.command import verb
from wherry.cli.machine.common import json_option, name_option, open_machine
from wherry.cli.machine.start import timeout_option
from wherry.cli.machine.starting import start_machine
from wherry.cli.machine.stop import grace_option, stop_machine


@verb("restart")
@name_option
@timeout_option
@grace_option
@json_option
def restart(name: str, timeout: float | None, grace: float | None, as_json: bool) -> None:
    """Stop the machine and start it again."""
    machine = open_machine(name)
    stop_machine(machine, save=False, grace=grace, as_json=as_json)
    start_machine(machine, timeout=timeout, as_json=as_json, timings=False)
