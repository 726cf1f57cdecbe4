"""The process that copying children are forked from: all they need is imported, and nothing else is here.

A fresh interpreter and not a fork of the engine, which has threads, and secrets in its memory. It forks when
it is asked to and does nothing else: what a client or an image says, only its children read.

    control   SOCK_SEQPACKET, from the engine: b"f" with a SOCK_STREAM socket, for each child
    that one  to the engine: b"p" with a pidfd of the child; then the child's (child.py)
"""

import gc
import os
import signal
import socket
import sys
from typing import NoReturn

from wherryd.builder.copying import child
from wherryd.sys import process

NAME = "wherry-copier"


def main() -> NoReturn:
    """Until the engine's end is closed."""
    control = socket.socket(fileno=int(sys.argv[1]))
    process.set_name(NAME)
    # Nobody waits for a child here; the engine has its pidfd.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 16, 1)
        if not message:
            os._exit(0)
        for descriptor in descriptors:
            _fork(control, socket.socket(fileno=descriptor))


def _fork(control: socket.socket, job: socket.socket) -> None:
    """An end of job without a pidfd says that there is no child."""
    server = os.getpid()
    with job:
        try:
            pid = os.fork()
        except OSError:
            return
        if pid == 0:
            control.close()
            child.run(job, server)
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return  # killed already
        try:
            socket.send_fds(job, [b"p"], [pidfd])
        except BrokenPipeError:
            pass  # the engine does not want it any more; the child gets no order
        finally:
            os.close(pidfd)
