"""The process that monitors run in: up to a few containers each, one loop, one place that reaps.

It is forked from the zygote, or is the zygote: that one holds monitors too, and forks further processes when
it is asked to. It leads a session of its own and holds nothing of the daemon's but a control
socket, on which it is asked for containers, and the connections these requests come with. The daemon may
be killed and come again at any time; a new one asks processes of its own, and finds the containers of
this one by their doors. It ends when it has no container left, and nobody who could ask for one.

Why several: what a fork of the zygote comes to own, about 4 MB, is then paid once, and a container that
starts in a process that is there already costs one fork less. Why few: when it is killed, its containers
die with it (PR_SET_PDEATHSIG): none is ever left unwatched.
"""

import contextlib
import gc
import os
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Final, NoReturn

from wherryd.runtime import children
from wherryd.runtime.control import Connection
from wherryd.runtime.loop import READ, Loop
from wherryd.runtime.monitor import Monitor
from wherryd.runtime.request import FORK, MAX_REQUEST_BYTES, CreateRequest
from wherryd.sys import process as proc

#: What faults of the process itself are written to, below the exec root.
LOG_FILE: Final = "monitor.log"


class MonitorProcess:
    """exec_root: of the processes that it is asked to fork."""

    def __init__(self, control: socket.socket, exec_root: Path) -> None:
        self._exec_root = exec_root
        self._loop = Loop()
        self._control: socket.socket | None = control
        self._monitors: set[Monitor] = set()
        control.setblocking(False)
        self._loop.watch(control.fileno(), READ, lambda _: self._asked(control))
        self._watch_children()

    def run(self) -> None:
        self._loop.run()

    def _watch_children(self) -> None:
        receive, send = socket.socketpair()
        for end in (receive, send):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(send.fileno(), warn_on_full_buffer=False)
        self._wakeup = (receive, send)

        def woken(_: int) -> None:
            with contextlib.suppress(BlockingIOError):
                receive.recv(4096)
            children.reap()

        self._loop.watch(receive.fileno(), READ, woken)

    def _asked(self, control: socket.socket) -> None:
        try:
            payload, fds, _, _ = socket.recv_fds(control, MAX_REQUEST_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        except ConnectionError:
            payload, fds = b"", []
        if not payload:
            self._loop.forget(control.fileno())
            control.close()
            self._control = None
            self._end_when_idle()
            return
        for fd in fds:
            end = socket.socket(fileno=fd)
            if payload == FORK:
                fork(end, self._exec_root)
            else:
                self._create(payload, end)

    def _create(self, payload: bytes, end: socket.socket) -> None:
        """Answers request 0 on the connection when the container is created, or why it could not be."""
        monitor = Monitor(self._loop, self._gone)
        self._monitors.add(monitor)
        connection = Connection(self._loop, end, monitor.handle)
        try:
            monitor.begin(CreateRequest.decode(payload), connection)
        except BaseException as error:
            if not isinstance(error, Exception):
                raise
            connection.fail(0, error)
            connection.close()
            self._gone(monitor)

    def _gone(self, monitor: Monitor) -> None:
        self._monitors.discard(monitor)
        self._end_when_idle()

    def _end_when_idle(self) -> None:
        if self._control is None and not self._monitors:
            self._loop.running = False


def fork(control: socket.socket, exec_root: Path) -> None:
    """Makes a further process, asked over `control`, which is told if that fails."""
    with control:
        try:
            pid = os.fork()
        except OSError as error:
            with contextlib.suppress(OSError):
                control.send(f"cannot fork a monitor: {error.strerror}: is the machine full?".encode())
            return
        if pid == 0:
            # Of the containers here it keeps nothing but memory that nobody looks at again: what refers to
            # it are the frames of this very call, which never return, so no destructor runs.
            children.forget_all()
            fd = control.fileno()
            os.closerange(3, fd)
            os.closerange(fd + 1, os.sysconf("SC_OPEN_MAX"))
            main(control, exec_root, "wherry-monitor")


def main(control: socket.socket, exec_root: Path, name: str) -> NoReturn:
    """The life of a process of monitors."""
    status = 1
    try:
        _detach(exec_root, name)
        gc.enable()
        MonitorProcess(control, exec_root).run()
        status = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


def _detach(exec_root: Path, name: str) -> None:
    """A session of our own; nothing of the daemon's streams; signals meant for others do not end us."""
    os.setsid()
    os.chdir("/")
    proc.set_name(name)
    proc.prctl(proc.PR_SET_CHILD_SUBREAPER, 1)
    proc.prctl(proc.PR_SET_DUMPABLE, 0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    exec_root.mkdir(mode=0o711, parents=True, exist_ok=True)
    null_device = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    log = os.open(exec_root / LOG_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    for fd, target in ((null_device, 0), (null_device, 1), (log, 2)):
        os.dup2(fd, target)
    os.close(null_device)
    os.close(log)
