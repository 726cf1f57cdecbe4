"""`wherry machine init`."""

import click

from wherry import config
from wherry.cli.command import verb
from wherry.cli.machine.common import json_option, name_option, option_for, show_json
from wherry.cli.machine.progress import Progress, Steps
from wherry.cli.machine.starting import show_tail, start_machine
from wherry.errors import MachineProblem
from wherry.machine import create
from wherry.machine.create import InitOptions
from wherry.paths import paths


@verb("init")
@name_option
@click.option("--cpus", type=click.IntRange(min=1), help="Virtual CPUs.")
@click.option("--memory", "memory_mib", type=click.IntRange(min=512), metavar="MIB", help="Memory, in MiB.")
@click.option(
    "--disk", "disk_gib", type=click.IntRange(min=1), metavar="GIB", help="Data disk, in GiB; sparse."
)
@click.option("--box", metavar="PATH|URL", help="Vagrant box to make it from, instead of wherry's own.")
@click.option("--start", "start_it", is_flag=True, help="Start it as well.")
@json_option
def init(
    name: str,
    cpus: int | None,
    memory_mib: int | None,
    disk_gib: int | None,
    box: str | None,
    start_it: bool,
    as_json: bool,
) -> None:
    """Make the machine, through Vagrant; nothing is left if that fails."""
    places = paths()
    options = InitOptions(name=name, cpus=cpus, memory_mib=memory_mib, disk_gib=disk_gib, box=box)
    try:
        with Progress(quiet=as_json) as progress:
            steps = Steps(progress)
            machine = create.create(places, config.load(places.config_file), options, steps)
            steps.finish()
    except MachineProblem as exc:
        show_tail(exc, option_for(name))
        raise
    if start_it:
        start_machine(machine, timeout=None, as_json=as_json, timings=False)
    elif as_json:
        show_json(machine.record.to_json())
    else:
        record = machine.record
        click.echo(
            f'machine "{name}" is made ({record.cpus} CPUs, {record.memory_mib} MiB, {record.disk_gib} GiB, '
            f"{record.hypervisor}); start it with `wherry machine start{option_for(name)}`"
        )
