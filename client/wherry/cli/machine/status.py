"""`wherry machine status`."""

import click

from wherry.cli.command import verb
from wherry.cli.machine.common import json_option, name_option, open_machine, option_for, show_json
from wherry.cli.machine.report import summary

#: Exit status when the engine cannot be talked to, as systemctl and others have it for "not running".
NOT_RUNNING = 3


@verb("status")
@name_option
@json_option
@click.pass_context
def status(ctx: click.Context, name: str, as_json: bool) -> None:
    """Say what state the machine is in. Exit status 0: its engine answers; 3: it does not."""
    found = summary(open_machine(name))
    if as_json:
        show_json(found)
    else:
        click.echo(f'machine "{name}" is {found["state"]}; engine: {found["engine"]}')
        for port in (found["agent"] or {}).get("ports", ()):
            detail = f" ({port['reason']})" if "reason" in port else ""
            kind = "" if port["protocol"] == "tcp" else f"/{port['protocol']}"
            addresses = ", ".join(
                f"[{address}]" if ":" in address else address for address in port.get("addresses", ())
            )
            where = f" on {addresses}" if addresses else ""
            click.echo(f"  port {port['port']}{kind} {port['state']}{where}{detail}")
        if found["engine"] == "off":
            click.echo(f"start it with `wherry machine start{option_for(name)}`")
        elif found["engine"] == "unreachable":
            click.echo(f"no agent serves it; `wherry machine start{option_for(name)}` starts one")
        elif found["engine"] == "running":
            click.echo(f"  {found['endpoint']}")
        else:
            click.echo(f"`wherry machine start{option_for(name)}` waits until it is running")
    if found["engine"] != "running":
        ctx.exit(NOT_RUNNING)
