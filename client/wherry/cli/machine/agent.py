"""`wherry agent`: the background process of a running machine. Hidden; `wherry machine start` starts it."""

import click

from wherry.cli.command import verb
from wherry.cli.machine.common import name_option, open_machine


@verb("agent", hidden=True)
@name_option
@click.option("--resumed", is_flag=True, help="The guest has booted before; no new ready line need come.")
def agent(name: str, resumed: bool) -> None:
    """Serve a machine until it stops."""
    from wherry.agent.serve import main  # paramiko and asyncio: only in this process

    main(open_machine(name), resumed=resumed)
