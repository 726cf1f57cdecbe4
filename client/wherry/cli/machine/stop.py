"""`wherry machine stop`."""

import click

from wherry.agent import shutdown
from wherry.cli.command import verb
from wherry.cli.machine.common import json_option, name_option, open_machine, show_json
from wherry.cli.machine.progress import Progress, Steps
from wherry.machine.store import Machine

grace_option = click.option(
    "--grace",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="How long the guest may take before its power is cut. Default: 30, or 90 where the CPU is emulated.",
)


@verb("stop")
@name_option
@click.option("--save", "--suspend", is_flag=True, help="Put the memory to disk; the next start resumes.")
@grace_option
@json_option
def stop(name: str, save: bool, grace: float | None, as_json: bool) -> None:
    """Shut the machine down; containers end cleanly. A machine that is off is a success."""
    machine = open_machine(name)
    forced = stop_machine(machine, save=save, grace=grace, as_json=as_json)
    state = machine.provider.state()
    if as_json:
        show_json({"name": name, "state": state, "forced": forced})
    else:
        click.echo(f'machine "{name}" is {state}')


def stop_machine(machine: Machine, *, save: bool, grace: float | None, as_json: bool) -> bool:
    """True when the power had to be cut, which is said on stderr."""
    limit = grace if grace is not None else shutdown.grace_for(machine)
    with Progress(quiet=as_json) as progress:
        steps = Steps(progress)
        steps("saving" if save else "stopping")
        forced = shutdown.shut_down(machine, save=save, grace_seconds=limit)
        steps.finish()
    if forced and limit > 0:
        click.echo(f'machine "{machine.name}" did not shut down in {limit:g} s; its power was cut', err=True)
    return forced
