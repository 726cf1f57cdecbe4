"""The zygote: one warm, single-threaded process from which monitors are forked.

Everything a monitor, an init or an exec helper will ever import is imported here, once. A request is one
packet on the control socket (--control-fd): the exec root, and with it one descriptor, the control socket
of a new process of monitors. The zygote ends when its control socket does, i.e. with the daemon, even a
killed one; monitors live on.
"""

import argparse
import contextlib
import gc
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Final

from wherryd.cgroups.manager import layout
from wherryd.errors import EngineError
from wherryd.runtime import monitorprocess, seccomp
from wherryd.sys import capabilities, signals
from wherryd.sys import process as proc

_MAX_PATH_BYTES: Final = 4096

#: Sent once, when everything is imported.
READY: Final = b"ready"


def serve(control: socket.socket) -> None:
    """Until the daemon's end is closed."""
    layout()
    _keep_shared()
    try:
        control.send(READY)
    except BrokenPipeError:
        return  # the daemon was gone before we were warm
    # The daemon has things to do before it asks for a container.
    try:
        seccomp.warm(capabilities.names(capabilities.bounding_set()))
    except EngineError as error:
        # A container that wants the filter will be told.
        print(f"wherry-zygote: {error}", file=sys.stderr, flush=True)  # noqa: T201 - the engine's log
    _keep_shared()
    while True:
        payload, fds, _, _ = socket.recv_fds(control, _MAX_PATH_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
        if not payload:
            return
        if len(fds) == 1:
            spawn(Path(os.fsdecode(payload)), socket.socket(fileno=fds[0]), control)


def _keep_shared() -> None:
    # Their pages stay shared with every fork: the collector would write into each object's header.
    gc.collect()
    gc.freeze()
    # No collection between fork and exec; a monitor switches it on again for its own life.
    gc.disable()


def spawn(exec_root: Path, theirs: socket.socket, control: socket.socket) -> None:
    with theirs:
        try:
            pid = os.fork()
        except OSError as error:
            with contextlib.suppress(OSError):
                theirs.send(f"cannot fork a monitor: {error.strerror}: is the machine full?".encode())
            return
        if pid == 0:
            control.close()
            monitorprocess.main(theirs, exec_root)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="wherry-zygote", description="Started by wherryd; not for use by hand."
    )
    parser.add_argument("--control-fd", type=int, required=True)
    arguments = parser.parse_args()
    proc.set_name("wherry-zygote")
    proc.prctl(proc.PR_SET_DUMPABLE, 0)
    signals.default_inherited()
    # Ended monitors are reaped by the kernel; a monitor sets its own handler.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    serve(socket.socket(fileno=arguments.control_fd))


if __name__ == "__main__":
    main()
