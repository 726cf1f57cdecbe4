"""`wherry attach`."""

import contextlib
import queue
from typing import TYPE_CHECKING, Any

import click

from wherry.cli import completing
from wherry.cli.command import engine, flag, verb
from wherry.errors import EngineProblem

if TYPE_CHECKING:
    from wherry.cli.session import Errands
    from wherry.engine.client import EngineClient


@verb("attach")
@click.option("--detach-keys", default="", help="Override the key sequence for detaching a container.")
@flag("--no-stdin", help="Do not attach STDIN.")
@flag("--sig-proxy", default=True, help="Proxy all received signals to the process (default true).")
@click.argument("container", shell_complete=completing.running)
@click.pass_context
def attach(ctx: click.Context, detach_keys: str, no_stdin: bool, sig_proxy: bool, container: str) -> int:
    """Attach local standard input, output, and error streams to a running container."""
    from wherry.cli import detach_keys as keys
    from wherry.cli import preferences, terminal
    from wherry.cli.lifecycle import attach_params, check_terminal, follow, watch_exit
    from wherry.cli.session import Errands, Events, Session, Wiring, forwarded_signals
    from wherry.engine.client import segment

    detach_keys = detach_keys or preferences.text("detachKeys")
    parsed = keys.parse(detach_keys)
    client = engine(ctx)
    found = client.get(f"/containers/{segment(container)}/json")
    _check_state(found["State"])
    tty = bool(found["Config"]["Tty"])
    check_terminal(not no_stdin, tty)
    stdin = not no_stdin and bool(found["Config"]["OpenStdin"])
    wiring = Wiring(stdin=stdin, stdout=True, stderr=True, tty=tty, detach_keys=parsed)
    path = f"/containers/{found['Id']}"
    events: Events = queue.SimpleQueue()
    watch_exit(client, found["Id"], "not-running", events.put)
    stream = client.hijack(f"{path}/attach", attach_params(wiring, detach_keys))
    with contextlib.ExitStack() as stack:
        errands = stack.enter_context(Errands())
        session = stack.enter_context(Session(stream, wiring, events))
        if sig_proxy and not tty:
            stack.enter_context(
                forwarded_signals(errands, lambda name: client.post(f"{path}/kill", {"signal": name}))
            )
        if tty and terminal.is_terminal(terminal.STDOUT):
            stack.enter_context(_redrawn(client, path, errands))
        status = follow(session, wiring)
    if status is None:
        raise EngineProblem("read escape sequence")
    return status


def _check_state(state: dict[str, Any]) -> None:
    if not state.get("Running"):
        raise EngineProblem("You cannot attach to a stopped container, start it first")
    if state.get("Paused"):
        raise EngineProblem("You cannot attach to a paused container, unpause it first")
    if state.get("Restarting"):
        raise EngineProblem("You cannot attach to a restarting container, wait until it is running")


def _redrawn(
    client: "EngineClient", path: str, errands: "Errands"
) -> contextlib.AbstractContextManager[None]:
    """The size followed from now on, begun one step off: programs redraw only when it really changes."""
    from wherry.cli import terminal
    from wherry.cli.session import followed_size

    def resize(height: int, width: int) -> None:
        client.post(f"{path}/resize", {"h": height, "w": width})

    size = terminal.size()
    if size is not None:
        height, width = size
        errands.do(lambda: resize(height + 1, width + 1))
    return followed_size(errands, resize)
