"""Signal dispositions that were inherited: exec hands an ignored signal on to the new program.

A shell ignores SIGINT and SIGQUIT for what it starts in the background, and glibc's posix_spawn leaves its
own signals 32 and 33 ignored. libc refuses to touch those two, hence the raw call.
"""

import ctypes
import os
import signal
from typing import Final

from wherryd.sys.libc import register, syscall

_NR_RT_SIGACTION: Final = {"x86_64": 13, "aarch64": 134}.get(os.uname().machine, 134)
#: struct sigaction of the kernel: handler (SIG_DFL = 0), flags, restorer, mask; the mask has 8 bytes.
_DEFAULT: Final = bytes(32)
_MASK_BYTES: Final = 8
#: Python's own (runtime/child.py gives them back before exec), and the two that cannot be set.
_KEPT: Final = (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGKILL, signal.SIGSTOP)


def default_inherited() -> None:
    """rt_sigaction(2): default actions, but for the signals that Python has set for itself at its start."""
    action = ctypes.create_string_buffer(_DEFAULT, len(_DEFAULT))
    for number in range(1, signal.NSIG):
        if number not in _KEPT:
            arguments = (register(number), action, ctypes.c_void_p(None), register(_MASK_BYTES))
            syscall(_NR_RT_SIGACTION, "rt_sigaction", str(number), *arguments)
