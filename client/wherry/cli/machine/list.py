"""`wherry machine list`."""

import click

from wherry.cli.command import verb
from wherry.cli.machine.common import json_option, show_json
from wherry.cli.machine.report import all_summaries

COLUMNS = ("NAME", "STATE", "ENGINE", "CPUS", "MEMORY", "DISK", "HYPERVISOR")


@verb("list")
@json_option
def list_(as_json: bool) -> None:
    """List all machines."""
    machines = all_summaries()
    if as_json:
        show_json(machines)
        return
    rows = [COLUMNS]
    for found in machines:
        size = "error" not in found
        rows.append(
            (
                found["name"],
                str(found["state"]),
                found["engine"],
                str(found["cpus"]) if size else "-",
                f"{found['memory_mib']} MiB" if size else "-",
                f"{found['disk_gib']} GiB" if size else "-",
                str(found["hypervisor"]) if size else "-",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    for row in rows:
        click.echo("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for found in machines:
        if "error" in found:
            click.echo(f"{found['name']}: {found['error']}", err=True)
