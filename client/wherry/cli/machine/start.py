"""`wherry machine start`."""

import click

from wherry.cli.command import verb
from wherry.cli.machine.common import json_option, name_option, open_machine
from wherry.cli.machine.starting import start_machine

timeout_option = click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Limit on the whole start. Default: 90, or 180 where the CPU is emulated.",
)


@verb("start")
@name_option
@timeout_option
@click.option("--timings", is_flag=True, help="Print the seconds of each stage at the end.")
@json_option
def start(name: str, timeout: float | None, timings: bool, as_json: bool) -> None:
    """Start the machine, from whatever state it is in, until its engine answers."""
    start_machine(open_machine(name), timeout=timeout, as_json=as_json, timings=timings)
