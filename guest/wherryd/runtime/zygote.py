"""The zygote: one warm, single-threaded process that holds monitors, and from which further ones are forked.

Everything a monitor, an init or an exec helper will ever import is imported here, once; then it is a process
of monitors as any other (monitorprocess.py), and the only one that is asked to fork. It ends with the daemon,
even a killed one, unless it has containers: then with the last of them.
"""

import gc
import signal
import socket
import sys
from pathlib import Path
from typing import NoReturn

from wherryd import later
from wherryd.cgroups import stats  # noqa: F401 - what monitors import later is to be here already
from wherryd.cgroups.manager import layout
from wherryd.errors import EngineError
from wherryd.runtime import monitorprocess, seccomp
from wherryd.runtime.request import READY
from wherryd.sys import capabilities, signals
from wherryd.sys import process as proc

NAME = "wherry-zygote"


def serve(control: socket.socket, exec_root: Path) -> NoReturn:
    """Until the daemon's end is closed and no container is left."""
    layout()
    later.seal()
    _keep_shared()
    try:
        control.send(READY)
    except BrokenPipeError:
        sys.exit(0)  # the daemon was gone before we were warm
    # The daemon has things to do before it asks for a container.
    try:
        seccomp.warm(capabilities.names(capabilities.bounding_set()))
    except EngineError as error:
        # A container that wants the filter will be told.
        print(f"wherry-zygote: {error}", file=sys.stderr, flush=True)  # noqa: T201 - the engine's log
    _keep_shared()
    monitorprocess.main(control, exec_root, NAME)


def _keep_shared() -> None:
    # Their pages stay shared with every fork: the collector would write into each object's header.
    gc.collect()
    gc.freeze()


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit("wherry-zygote is started by wherryd; not for use by hand")
    control, exec_root = socket.socket(fileno=int(sys.argv[1])), Path(sys.argv[2])
    proc.set_name(NAME)
    proc.prctl(proc.PR_SET_DUMPABLE, 0)
    signals.default_inherited()
    # A signal to the daemon's terminal is not for containers.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    serve(control, exec_root)
