"""The parent's side of bringing a process up: fork, the talk with the child, clean-up when it fails."""

import contextlib
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wherryd.errors import RuntimeFault
from wherryd.runtime import child, children, execin, init, namespaces
from wherryd.runtime.messages import ChildMessage, Peer, Step
from wherryd.spec.oci import Spec
from wherryd.sys import process

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


def begin_init(
    plan: init.InitPlan,
    make_cgroup: Callable[[int], tuple[int, ...]],
    environment: Callable[[int], None] = lambda _: None,
) -> "Talk":
    """Forks init; the talk with it brings it to its gate.

    make_cgroup: makes it and lets the given pid in, while init mounts: what it gives is handed to init, and
    closed. environment: the hooks that init waits for, with its pid. Raises RuntimeFault or what the child
    raised.
    """
    staged = namespaces.needs_stage(plan.spec.linux)
    ours, theirs = Peer.pair()
    child.flush_streams()
    with contextlib.nullcontext() if staged else namespaces.for_children(plan.spec.linux):
        pid = os.fork()
        if pid == 0:
            init.run(plan, theirs)
    theirs.close()
    talk = Talk(Launched(pid, ours), forks_again=staged, environment=environment)
    try:
        with contextlib.ExitStack() as done:
            entrances = make_cgroup(pid)
            for fd in entrances:
                done.callback(os.close, fd)
            # A child that has failed already says why in what the talk hears.
            done.enter_context(contextlib.suppress(BrokenPipeError))
            ours.send(ChildMessage(step=Step.CGROUP), entrances)
    except BaseException:
        _raise_childs_own(talk)
        talk.give_up()
        raise
    return talk


def _raise_childs_own(talk: "Talk") -> None:
    """A child that had failed by itself could not be let in: what it says is the reason, not the letting."""
    peer = talk.launched.peer
    peer.socket.settimeout(0)
    try:
        received = peer.receive()
        if received is not None:
            received[0].raise_if_failed()
    except (BlockingIOError, ConnectionError):
        return
    except BaseException:
        talk.give_up()
        raise


class Talk:
    """With a child, until it is READY; a child that fails is killed and reaped.

    forks_again: the process that matters is a child of the child; both of its messages, FORKED and READY,
    may come first. Either `to_the_end`, or `step` whenever the peer's socket has something to read.
    """

    def __init__(
        self, launched: Launched, *, forks_again: bool, environment: Callable[[int], None] = lambda _: None
    ) -> None:
        self.launched = launched
        self._awaited = {Step.READY, Step.FORKED} if forks_again else {Step.READY}
        self._environment = environment
        self._asked = False
        self._open = True
        children.begin()

    def to_the_end(self) -> Launched:
        """Raises RuntimeFault or what the child raised."""
        self.launched.peer.socket.settimeout(SETUP_TIMEOUT_S)
        while not self.step():
            pass
        self.launched.peer.socket.settimeout(None)
        return self.launched

    def step(self) -> bool:
        """Hears one message; whether the child is READY. Raises like `to_the_end`."""
        try:
            self._hear()
        except BaseException:
            self.give_up()
            raise
        return not self._awaited

    def _hear(self) -> None:
        launched = self.launched
        try:
            received = launched.peer.receive()
        except TimeoutError as error:
            raise too_slow() from error
        if received is None:
            raise RuntimeFault(f"the container's process ended during its set-up{_how(launched.pid)}")
        message, fds = received
        message.raise_if_failed()
        if message.step is Step.FORKED:
            children.status_of(launched.pid)
            launched.pid = message.pid
        elif message.step is Step.TERMINAL:
            (launched.master,) = fds
        elif message.step is Step.ENVIRONMENT:
            # Whose pid it is may be told only now, by the process between.
            self._asked = True
        self._awaited.discard(message.step)
        if self._asked and Step.FORKED not in self._awaited:
            self._environment(launched.pid)
            launched.peer.send(ChildMessage(step=Step.HOOKED))
            self._asked = False

    def end(self) -> None:
        """Somebody waits for the child now. Done twice is fine."""
        if self._open:
            self._open = False
            children.end()

    def give_up(self) -> None:
        """Ends the child. Done twice is fine."""
        abandon(self.launched)
        self.end()


def too_slow() -> RuntimeFault:
    return RuntimeFault(
        f"the container's process was not set up within {SETUP_TIMEOUT_S:g} s: "
        "a mount or a file it needs does not answer"
    )


def _how(pid: int) -> str:
    """What its status says, if it can be had: mostly SIGKILL, from a memory limit that is too low."""
    status = children.status_of(pid)
    if status is None:
        return ""
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        return f" by {name}: is its memory limit too low?" if name == "SIGKILL" else f" by {name}"
    return f" with status {os.waitstatus_to_exitcode(status)}"


def open_gate(launched: Launched) -> None:
    """Lets the program begin; `passed` tells when it has."""
    # Killed at the gate: its exit status tells.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        launched.peer.send(ChildMessage(step=Step.START))


def passed(launched: Launched) -> None:
    """Waits until the program runs. Raises RuntimeFault with exit code 126 or 127."""
    try:
        received = launched.peer.receive()
    except (BrokenPipeError, ConnectionResetError):
        received = None
    finally:
        launched.peer.close()
    if received is not None:
        received[0].raise_if_failed()


def pass_gate(launched: Launched) -> None:
    """Opens the gate and returns when the program runs. Raises RuntimeFault with exit code 126 or 127."""
    open_gate(launched)
    passed(launched)


def abandon(launched: Launched) -> None:
    """Ends a child that failed in its set-up. Done twice is fine."""
    launched.peer.close()
    if launched.master >= 0:
        os.close(launched.master)
        launched.master = -1
    with contextlib.suppress(ProcessLookupError):
        os.kill(launched.pid, signal.SIGKILL)
    children.status_of(launched.pid)


def launch_exec(plan: execin.ExecPlan) -> Launched:
    """Forks a further process of a running container and brings it to its gate. Raises RuntimeFault or what
    the child raised."""
    talk = Talk(fork_exec(plan), forks_again=False)
    try:
        return talk.to_the_end()
    finally:
        talk.end()


def fork_exec(plan: execin.ExecPlan) -> Launched:
    """Only forks it, in the container's PID namespace: the talk with it is the caller's."""
    ours, theirs = Peer.pair()
    child.flush_streams()
    # The child is seen by the container from its first moment.
    process.prctl(process.PR_SET_DUMPABLE, 0)
    with namespaces.same_for_children(plan.init_pidfd, plan.namespaces):
        pid = os.fork()
        if pid == 0:
            execin.run(plan, theirs)
    theirs.close()
    return Launched(pid, ours)
