"""Programs that the config has run at six points of a container's life.

Source: config.md, "POSIX-platform Hooks".

    create   prestart, createRuntime    outside, the namespaces and mounts are there, the root is not entered
             createContainer            in the container's namespaces, the program still of our side
    start    startContainer             inside, right before the container's program, with its user and power
             poststart                  outside, the container's program runs
    delete   poststop                   outside; the only ones whose failure is told and changes nothing

A hook has the container's state on stdin. Nothing is imported here on the way: some run inside the root.
"""

import json
import os
import re
import select
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from wherryd.errors import RuntimeFault
from wherryd.spec.oci import Hook, Spec
from wherryd.sys import namespaces as ns
from wherryd.sys import process

_SAID_BYTES: Final = 4096
#: A hook without a timeout that never ends would keep everybody waiting: the runtime's own limit, in seconds.
_LONGEST_S: Final = 300


def state_document(spec: Spec, container_id: str, bundle: str, *, status: str, pid: int) -> bytes:
    """runtime.md, "State". pid: as seen outside."""
    document: dict[str, Any] = {
        "ociVersion": spec.version,
        "id": container_id,
        "status": status,
        "pid": pid,
        "bundle": bundle,
        "annotations": dict(spec.annotations),
    }
    if not pid:
        del document["pid"]
    return json.dumps(document).encode()


def poststart_may_fail(version: str) -> bool:
    """Whether the spec that a config was written for has the container go on, with a warning.

    Changed in 1.2.1: since then, and always with runc, the container ends. crun still goes by the older rule.
    """
    numbers = re.findall(r"\d+", version)[:3]
    return tuple(map(int, numbers)) < (1, 2, 1)


@contextmanager
def _outside() -> Iterator[None]:
    """Children are born in our own PID and time namespaces meanwhile. A monitor's are born in the container's
    otherwise, where none can be born any more once its init has gone."""
    saved = []
    for name, flag in (("pid", ns.CLONE_NEWPID), ("time", ns.CLONE_NEWTIME)):
        try:
            own = os.open(f"/proc/self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
            children = os.open(f"/proc/self/ns/{name}_for_children", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # a kernel without time namespaces
        if os.path.sameopenfile(own, children):
            os.close(children)
        else:
            ns.setns(own, flag, f"our own {name} namespace")
            saved.append((children, flag))
        os.close(own)
    try:
        yield
    finally:
        for children, flag in saved:
            ns.setns(children, flag, "the container's namespace, for children")
            os.close(children)


def run_outside(kind: str, hooks: Sequence[Hook], state: bytes) -> None:
    """`run` for those of the runtime's namespaces."""
    if hooks:
        with _outside():
            run(kind, hooks, state)


def run(kind: str, hooks: Iterable[Hook], state: bytes) -> None:
    """One after the other; the first failure ends it. Raises RuntimeFault with what the hook said."""
    for number, hook in enumerate(hooks):
        problem = _run(hook, state)
        if problem is not None:
            raise RuntimeFault(f"error running {kind} hook #{number}: {hook.path}: {problem}")


def run_to_the_end(kind: str, hooks: Iterable[Hook], state: bytes, complain: Callable[[str], None]) -> None:
    """All of them, whatever they do, in the runtime's namespaces."""
    with _outside():
        for number, hook in enumerate(hooks):
            problem = _run(hook, state)
            if problem is not None:
                complain(f"error running {kind} hook #{number}: {hook.path}: {problem}")


def _run(hook: Hook, state: bytes) -> str | None:
    """What went wrong, or None."""
    stdin = os.memfd_create("state", os.MFD_CLOEXEC)
    stderr = os.memfd_create("stderr", os.MFD_CLOEXEC)
    try:
        os.write(stdin, state)
        os.lseek(stdin, 0, os.SEEK_SET)
        child = os.fork()
        if child == 0:
            _become(hook, stdin, stderr)
        status = _wait(child, hook.timeout_s or _LONGEST_S)
        if status == 0:
            return None
        said = os.pread(stderr, _SAID_BYTES, 0).decode(errors="replace").strip()
        return "; ".join(filter(None, (_how(status, hook), said)))
    finally:
        os.close(stdin)
        os.close(stderr)


def _become(hook: Hook, stdin: int, stderr: int) -> None:
    try:
        null = os.open("/dev/null", os.O_WRONLY)
        os.dup2(stdin, 0)
        os.dup2(null, 1)
        os.dup2(stderr, 2)
        # A descriptor that came over a socket is not close-on-exec by itself.
        process.close_range(3, flags=process.CLOSE_RANGE_CLOEXEC)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGPIPE, signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        env = dict(entry.split("=", 1) for entry in hook.env)
        os.execve(hook.path, hook.args or (hook.path,), env)  # noqa: S606
    except OSError as error:
        os.write(2, (error.strerror or "failed").encode())
    finally:
        os._exit(127)


def _wait(child: int, timeout_s: int) -> int:
    """Its exit status as os.waitstatus_to_exitcode has it; -9 after killing it for being late."""
    pidfd = os.pidfd_open(child)
    try:
        waiting = select.poll()
        waiting.register(pidfd, select.POLLIN)
        if not waiting.poll(timeout_s * 1000):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return _LATE
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        os.close(pidfd)


_LATE: Final = 1 << 16


def _how(status: int, hook: Hook) -> str:
    if status == _LATE:
        return f"did not end within {hook.timeout_s or _LONGEST_S} s"
    return f"signal {-status}" if status < 0 else f"exit status {status}"
