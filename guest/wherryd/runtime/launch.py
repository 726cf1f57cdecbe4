"""The parent's side of bringing a process up: fork, the talk with the child, clean-up when it fails."""

import contextlib
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wherryd.errors import RuntimeFault
from wherryd.runtime import child, execin, init, namespaces
from wherryd.runtime.messages import ChildMessage, Peer, Step
from wherryd.spec.oci import Spec

#: A child needs a few milliseconds; one that hangs (a dead network mount) is killed after this, in seconds.
SETUP_TIMEOUT_S: Final = 60.0


@dataclass(slots=True)
class Launched:
    """A child that is READY. peer: our end, held until it has passed the gate. master: its pty, or -1."""

    pid: int
    peer: Peer
    master: int = -1


def rootfs_path(spec: Spec, bundle: Path) -> str:
    """config.md, "Root": relative to the bundle, or absolute."""
    return str((bundle / spec.root.path).resolve())


def launch_init(
    plan: init.InitPlan,
    make_cgroup: Callable[[int], tuple[int, ...]],
    meanwhile: Callable[[], None],
    environment: Callable[[int], None] = lambda _: None,
) -> Launched:
    """Forks init and brings it to its gate; later children are born in the container's PID namespace too.

    make_cgroup: makes it and lets the given pid in, while init mounts: what it gives is handed to init, and
    closed. meanwhile: what else can be done in that time. environment: the hooks that init waits for, with
    its pid. Raises RuntimeFault or what the child raised.
    """
    if not namespaces.needs_stage(plan.spec.linux):
        namespaces.enter_for_children(plan.spec.linux)
    ours, theirs = Peer.pair()
    child.flush_streams()
    pid = os.fork()
    if pid == 0:
        init.run(plan, theirs)
    theirs.close()
    launched = Launched(pid, ours)
    try:
        with contextlib.ExitStack() as done:
            entrances = make_cgroup(pid)
            for fd in entrances:
                done.callback(os.close, fd)
            # A child that has failed already says why in what `bring_up` reads.
            done.enter_context(contextlib.suppress(BrokenPipeError))
            ours.send(ChildMessage(step=Step.CGROUP), entrances)
        meanwhile()
    except BaseException:
        _raise_childs_own(launched)
        abandon(launched)
        raise
    return bring_up(launched, forks_again=namespaces.needs_stage(plan.spec.linux), environment=environment)


def _raise_childs_own(launched: Launched) -> None:
    """A child that had failed by itself could not be moved: what it says is the reason, not the moving."""
    launched.peer.socket.settimeout(0)
    try:
        received = launched.peer.receive()
        if received is not None:
            received[0].raise_if_failed()
    except (BlockingIOError, ConnectionError):
        return
    except BaseException:
        abandon(launched)
        raise


def bring_up(
    launched: Launched, *, forks_again: bool, environment: Callable[[int], None] = lambda _: None
) -> Launched:
    """Talks with the child until it is READY; kills and reaps it otherwise. forks_again: the process
    that matters is a child of the child; both of its messages, FORKED and READY, may come first."""
    launched.peer.socket.settimeout(SETUP_TIMEOUT_S)
    try:
        _talk(launched, {Step.READY, Step.FORKED} if forks_again else {Step.READY}, environment)
    except BaseException:
        abandon(launched)
        raise
    launched.peer.socket.settimeout(None)
    return launched


def _talk(launched: Launched, awaited: set[Step], environment: Callable[[int], None]) -> None:
    asked = False
    while awaited:
        if asked and Step.FORKED not in awaited:
            environment(launched.pid)
            launched.peer.send(ChildMessage(step=Step.HOOKED))
            asked = False
        try:
            received = launched.peer.receive()
        except TimeoutError as error:
            raise RuntimeFault(
                f"the container's process was not set up within {SETUP_TIMEOUT_S:g} s: "
                "a mount or a file it needs does not answer"
            ) from error
        if received is None:
            raise RuntimeFault(f"the container's process ended during its set-up{_how(launched.pid)}")
        message, fds = received
        message.raise_if_failed()
        if message.step is Step.FORKED:
            os.waitpid(launched.pid, 0)
            launched.pid = message.pid
        elif message.step is Step.TERMINAL:
            (launched.master,) = fds
        elif message.step is Step.ENVIRONMENT:
            # Whose pid it is may be told only now, by the process between.
            asked = True
        awaited.discard(message.step)


def _how(pid: int) -> str:
    """What its status says, if it can be had: mostly SIGKILL, from a memory limit that is too low."""
    with contextlib.suppress(ChildProcessError):
        _, status = os.waitpid(pid, 0)
        if os.WIFSIGNALED(status):
            name = signal.Signals(os.WTERMSIG(status)).name
            return f" by {name}: is its memory limit too low?" if name == "SIGKILL" else f" by {name}"
        return f" with status {os.waitstatus_to_exitcode(status)}"
    return ""


def pass_gate(launched: Launched, *, limit_s: float | None = None) -> None:
    """Opens the gate and returns when the program runs. Raises RuntimeFault with exit code 126 or 127.

    limit_s: a process that shares its PID namespace can stop it, and its caller has others to look after.
    """
    launched.peer.socket.settimeout(limit_s)
    try:
        launched.peer.send(ChildMessage(step=Step.START))
        received = launched.peer.receive()
    except (BrokenPipeError, ConnectionResetError):
        received = None  # killed at the gate: its exit status tells
    except TimeoutError as error:
        with contextlib.suppress(ProcessLookupError):
            os.kill(launched.pid, signal.SIGKILL)
        raise RuntimeFault(
            f"the program did not begin within {limit_s:g} s: its file does not answer"
        ) from error
    finally:
        launched.peer.close()
    if received is not None:
        received[0].raise_if_failed()


def abandon(launched: Launched) -> None:
    """Ends a child that failed in its set-up. Done twice is fine."""
    launched.peer.close()
    if launched.master >= 0:
        os.close(launched.master)
        launched.master = -1
    with contextlib.suppress(ProcessLookupError):
        os.kill(launched.pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(launched.pid, 0)


def launch_exec(plan: execin.ExecPlan) -> Launched:
    """Forks a further process of a running container and brings it to its gate. Raises like launch_init."""
    return bring_up(fork_exec(plan), forks_again=plan.forks_again)


def fork_exec(plan: execin.ExecPlan) -> Launched:
    """Only forks it: the talk with it is the caller's."""
    ours, theirs = Peer.pair()
    child.flush_streams()
    pid = os.fork()
    if pid == 0:
        execin.run(plan, theirs)
    theirs.close()
    return Launched(pid, ours)
