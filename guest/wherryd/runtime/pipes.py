"""Pipes for a process without a terminal: the child's ends and ours."""

import os

from wherryd.runtime.child import ChildStreams
from wherryd.runtime.streams import Ends


def make(*, stdin: bool) -> tuple[ChildStreams, Ends]:
    """stdin: a pipe; otherwise /dev/null. All close-on-exec; `close_child_ends` after the fork."""
    out_read, out_write = os.pipe2(os.O_CLOEXEC)
    err_read, err_write = os.pipe2(os.O_CLOEXEC)
    if stdin:
        in_read, in_write = os.pipe2(os.O_CLOEXEC)
    else:
        in_read, in_write = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC), -1
    return ChildStreams(in_read, out_write, err_write), Ends(stdin=in_write, stdout=out_read, stderr=err_read)


def close_child_ends(streams: ChildStreams) -> None:
    for fd in streams.fds():
        os.close(fd)


def close_ends(ends: Ends) -> None:
    for fd in (ends.stdin, ends.stdout, ends.stderr):
        if fd >= 0:
            os.close(fd)
