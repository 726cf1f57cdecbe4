"""`wherry start`."""

from typing import TYPE_CHECKING

import click

from wherry.cli import completing
from wherry.cli.command import each, engine, flag, refused, verb
from wherry.errors import EngineProblem, UsageProblem

if TYPE_CHECKING:
    from wherry.engine.client import EngineClient


@verb("start")
@flag("-a", "--attach", help="Attach STDOUT/STDERR and forward signals.")
@click.option("--detach-keys", default="", help="Override the key sequence for detaching a container.")
@flag("-i", "--interactive", help="Attach container's STDIN.")
@refused("--checkpoint", reason="checkpoints are experimental in docker")
@refused("--checkpoint-dir", reason="checkpoints are experimental in docker")
@click.argument(
    "containers", nargs=-1, required=True, metavar="CONTAINER...", shell_complete=completing.startable
)
@click.pass_context
def start(
    ctx: click.Context, attach: bool, detach_keys: str, interactive: bool, containers: tuple[str, ...]
) -> int:
    """Start one or more stopped containers."""
    from wherry.engine.client import segment

    if attach or interactive:
        if len(containers) > 1:
            raise UsageProblem("you cannot start and attach multiple containers at once; name one")
        return _attached(engine(ctx), containers[0], interactive, detach_keys)
    client = engine(ctx)
    failed: list[str] = []

    def one(name: str) -> None:
        try:
            client.post(f"/containers/{segment(name)}/start")
        except EngineProblem:
            failed.append(name)
            raise

    status = each(containers, one)
    if failed:
        click.echo(f"Error: failed to start containers: {', '.join(failed)}", err=True)
    return status


def _attached(client: "EngineClient", container: str, interactive: bool, detach_keys: str) -> int:
    from wherry.cli import detach_keys as keys
    from wherry.cli import preferences
    from wherry.cli.lifecycle import start_attached
    from wherry.cli.session import Wiring
    from wherry.engine.client import segment

    detach_keys = detach_keys or preferences.text("detachKeys")
    parsed = keys.parse(detach_keys)
    found = client.get(f"/containers/{segment(container)}/json")
    tty = bool(found["Config"]["Tty"])
    stdin = interactive and bool(found["Config"]["OpenStdin"])
    return start_attached(
        client,
        found["Id"],
        Wiring(stdin=stdin, stdout=True, stderr=True, tty=tty, detach_keys=parsed),
        detach_keys=detach_keys,
        auto_remove=bool(found["HostConfig"].get("AutoRemove")),
        sig_proxy=not tty,
    )
