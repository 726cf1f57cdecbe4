"""`wherry machine rm`."""

import click

from wherry.agent import launch
from wherry.agent.shutdown import LOCK_SECONDS
from wherry.cli.command import verb
from wherry.cli.machine.common import json_option, name_option, open_machine, show_json
from wherry.cli.machine.progress import Progress, Steps
from wherry.machine.guard import held
from wherry.machine.remove import refuse_running, remove


@verb("rm")
@name_option
@click.option("-f", "--force", is_flag=True, help="Also when it is running.")
@click.option("--keep-data", is_flag=True, help="Keep the data disk: images, containers and volumes.")
@json_option
def rm(name: str, force: bool, keep_data: bool, as_json: bool) -> None:
    """Remove the machine, its VM and its disks."""
    machine = open_machine(name)
    if machine.provider.state().is_on and not force:
        refuse_running(machine)
    busy = f'another command is changing machine "{name}"; try again when it is done'
    with Progress(quiet=as_json) as progress, held(machine.files.lock, wait_seconds=LOCK_SECONDS, busy=busy):
        steps = Steps(progress)
        steps("removing")
        launch.stop(machine.files)
        remove(machine, force=force, keep_data=keep_data)
        steps.finish()
    kept = str(machine.files.data_disk) if machine.files.data_disk.exists() else None
    if as_json:
        show_json({"name": name, "removed": True, "kept": kept})
    else:
        click.echo(f'machine "{name}" is removed' + (f"; its data is kept in {kept}" if kept else ""))
