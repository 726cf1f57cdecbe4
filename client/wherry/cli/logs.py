"""`wherry logs`."""

import click

from wherry.cli import completing, terminal
from wherry.cli.command import engine, flag, verb
from wherry.cli.timing import moment


@verb("logs")
@flag("--details", help="Show extra details provided to logs.")
@flag("-f", "--follow", help="Follow log output.")
@click.option("--since", help='Show logs since a time ("2013-01-02T13:23:37Z") or an age ("42m").')
@click.option("-n", "--tail", default="all", help="Number of lines to show from the end of the logs.")
@flag("-t", "--timestamps", help="Show timestamps.")
@click.option("--until", help='Show logs before a time ("2013-01-02T13:23:37Z") or an age ("42m").')
@click.argument("container", shell_complete=completing.containers)
@click.pass_context
def logs(
    ctx: click.Context,
    details: bool,
    follow: bool,
    since: str | None,
    tail: str,
    timestamps: bool,
    until: str | None,
    container: str,
) -> int:
    """Fetch the logs of a container."""
    from wherry.cli.session import copy_frames
    from wherry.engine.client import segment

    client = engine(ctx)
    found = client.get(f"/containers/{segment(container)}/json")
    params = {
        "stdout": True,
        "stderr": True,
        "follow": follow or None,
        "since": since and moment(since, "--since"),
        "until": until and moment(until, "--until"),
        "timestamps": timestamps or None,
        "details": details or None,
        "tail": tail,
    }
    chunks = client.chunks(f"/containers/{found['Id']}/logs", params)
    try:
        if found["Config"]["Tty"]:
            for chunk in chunks:
                terminal.write_all(terminal.STDOUT, chunk)
        else:
            copy_frames(chunks)
    except KeyboardInterrupt:
        return 130  # how one leaves `logs -f`: no message
    return 0
