"""`wherry exec`."""

import contextlib
import os
from typing import TYPE_CHECKING, Any

import click

from wherry.cli import completing
from wherry.cli.command import engine, flag, texts, verb
from wherry.errors import EngineProblem

if TYPE_CHECKING:
    from wherry.cli.session import Wiring
    from wherry.engine.client import EngineClient


@verb("exec", options_first=True)
@flag("-d", "--detach", help="Run command in the background.")
@click.option("--detach-keys", default="", help="Override the key sequence for detaching a container.")
@texts("-e", "--env", help="Set environment variables.")
@texts("--env-file", help="Read in a file of environment variables.")
@flag("-i", "--interactive", help="Keep STDIN open even if not attached.")
@flag("--privileged", help="Give extended privileges to the command.")
@flag("-t", "--tty", help="Allocate a pseudo-TTY.")
@click.option("-u", "--user", default="", help="Username or UID (<name|uid>[:<group|gid>]).")
@click.option("-w", "--workdir", default="", help="Working directory inside the container.")
@click.argument("container", shell_complete=completing.running)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="COMMAND [ARG...]")
@click.pass_context
def exec_(
    ctx: click.Context,
    detach: bool,
    detach_keys: str,
    env: tuple[str, ...],
    env_file: tuple[str, ...],
    interactive: bool,
    privileged: bool,
    tty: bool,
    user: str,
    workdir: str,
    container: str,
    command: tuple[str, ...],
) -> int:
    """Execute a command in a running container."""
    from wherry.cli import detach_keys as keys
    from wherry.cli import preferences, terminal
    from wherry.cli.lifecycle import check_terminal
    from wherry.cli.session import Wiring
    from wherry.engine.client import segment
    from wherry.engine.parse.environment import environment

    detach_keys = detach_keys or preferences.text("detachKeys")
    wiring = Wiring(
        stdin=interactive and not detach,
        stdout=not detach,
        stderr=not detach,
        tty=tty,
        detach_keys=keys.parse(detach_keys),
    )
    body: dict[str, Any] = {
        "Cmd": list(command),
        "Env": environment(env_file, env, os.environ),
        "AttachStdin": wiring.stdin,
        "AttachStdout": wiring.stdout,
        "AttachStderr": wiring.stderr,
        "Tty": tty,
        "User": user,
        "WorkingDir": workdir,
        "Privileged": privileged,
        "DetachKeys": detach_keys,
    }
    size = terminal.size() if tty else None
    if size:
        body["ConsoleSize"] = list(size)
    client = engine(ctx)
    path = f"/containers/{segment(container)}"
    # First whether it is there: a missing container is the better message, and an exec that was made
    # and never started would stay behind.
    client.get(f"{path}/json")
    check_terminal(wiring.stdin, tty)
    created: str = client.post(f"{path}/exec", body=body)["Id"]
    start = {"Detach": detach, "Tty": tty} | ({"ConsoleSize": list(size)} if size else {})
    if detach:
        client.post(f"/exec/{created}/start", body=start)
        return 0
    return _attached(client, created, start, wiring)


def _attached(client: "EngineClient", created: str, start: dict[str, Any], wiring: "Wiring") -> int:
    from wherry.cli import terminal
    from wherry.cli.session import Errands, Outcome, Session, followed_size

    stream = client.hijack(f"/exec/{created}/start", body=start)
    with contextlib.ExitStack() as stack:
        errands = stack.enter_context(Errands())
        session = stack.enter_context(Session(stream, wiring))
        if wiring.tty and terminal.is_terminal(terminal.STDIN):
            resize = f"/exec/{created}/resize"
            stack.enter_context(followed_size(errands, lambda h, w: client.post(resize, {"h": h, "w": w})))
        outcome = session.wait()
    if outcome is Outcome.DETACHED:
        raise EngineProblem("read escape sequence")
    return int(client.get(f"/exec/{created}/json")["ExitCode"] or 0)
