"""Waiting for a container's end, and the dance of attach, wait, start and resize that run and start share."""

import contextlib
import json
import queue
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from wherry.cli import terminal
from wherry.cli.session import (
    Errands,
    Event,
    Events,
    Exited,
    Outcome,
    Session,
    Wiring,
    followed_size,
    forwarded_signals,
)
from wherry.errors import EngineProblem, NoTerminal, WherryError

if TYPE_CHECKING:
    from wherry.engine.client import EngineClient

#: Seconds to wait until an engine has removed a --rm container whose start failed.
REMOVAL_SECONDS = 10.0
#: Exit status when the container's own cannot be learned.
UNKNOWN_STATUS = 125


def watch_exit(client: "EngineClient", container: str, condition: str, tell: Callable[[Event], None]) -> None:
    """Registers a wait and returns; tells Exited later, from a thread. Source: POST /containers/{id}/wait.

    The engine answers the head at once, so that a start after this call cannot be missed.
    """
    from wherry.engine.client import segment

    path = f"/containers/{segment(container)}/wait"
    answer = client.call("POST", path, {"condition": condition}, stream=True)

    def read() -> None:
        try:
            with answer:
                result = json.loads(answer.content)
        except (EngineProblem, ValueError) as exc:
            tell(EngineProblem(f"error waiting for container: {exc}", exit_code=UNKNOWN_STATUS))
            return
        problem = (result.get("Error") or {}).get("Message")
        if problem:
            tell(EngineProblem(f"error waiting for container: {problem}", exit_code=UNKNOWN_STATUS))
        else:
            tell(Exited(int(result["StatusCode"])))

    threading.Thread(target=read, name="wait", daemon=True).start()


def check_terminal(stdin: bool, tty: bool) -> None:
    """A TTY needs one on this side too. Raises NoTerminal."""
    if stdin and tty and not terminal.is_terminal(terminal.STDIN):
        raise NoTerminal("the input device is not a TTY; leave out -t to use a pipe")


def start_attached(
    client: "EngineClient",
    container: str,
    wiring: Wiring,
    *,
    detach_keys: str,
    auto_remove: bool,
    sig_proxy: bool,
) -> int:
    """Attach, wait, start, follow; gives the container's exit status, or 0 if the user detached."""
    from wherry.engine.client import segment

    path = f"/containers/{segment(container)}"
    stream = client.hijack(f"{path}/attach", attach_params(wiring, detach_keys))
    events: Events = queue.SimpleQueue()
    with contextlib.ExitStack() as stack:
        errands = stack.enter_context(Errands())
        session = stack.enter_context(Session(stream, wiring, events))
        if sig_proxy:
            kill = f"{path}/kill"
            stack.enter_context(forwarded_signals(errands, lambda name: client.post(kill, {"signal": name})))
        watch_exit(client, container, "removed" if auto_remove else "next-exit", events.put)
        try:
            client.post(f"{path}/start")
        except WherryError:
            if auto_remove:
                _await_removal(events)
            raise
        if wiring.tty and terminal.is_terminal(terminal.STDOUT):
            stack.enter_context(
                followed_size(errands, lambda h, w: client.post(f"{path}/resize", {"h": h, "w": w}))
            )
        return follow(session, wiring) or 0


def attach_params(wiring: Wiring, detach_keys: str) -> dict[str, bool | str | None]:
    """Query of POST /containers/{id}/attach."""
    return {
        "stream": True,
        "stdin": wiring.stdin,
        "stdout": wiring.stdout,
        "stderr": wiring.stderr,
        "detachKeys": detach_keys or None,
    }


def _await_removal(events: Events) -> None:
    """Until the container whose start failed is gone; a later `run` with its name must not meet it."""
    with contextlib.suppress(queue.Empty):
        while not isinstance(events.get(timeout=REMOVAL_SECONDS), Exited | EngineProblem):
            continue


def follow(session: Session, wiring: Wiring) -> int | None:
    """The status once the process has ended and all its output is here; None if the user detached."""
    output_ended = not (wiring.stdout or wiring.stderr)
    status: int | None = None
    while status is None or not output_ended:
        match session.wait():
            case Outcome.DETACHED:
                return None
            case Outcome.ENDED:
                output_ended = True
            case Exited(code):
                status = code
    return status


def warn(warnings: list[str] | None) -> None:
    for warning in warnings or []:
        click.echo(f"WARNING: {warning}", err=True)
