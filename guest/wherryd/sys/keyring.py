"""keyctl(2): the session keyring, which children inherit like a descriptor."""

import ctypes
import errno
import os
from typing import Final

from wherryd.errors import KernelFault
from wherryd.sys.libc import register, syscall

# linux/keyctl.h
KEYCTL_JOIN_SESSION_KEYRING: Final = 1

_NR_KEYCTL: Final = {"x86_64": 250, "aarch64": 219}.get(os.uname().machine, 219)


def join_new_session_keyring() -> None:
    """KEYCTL_JOIN_SESSION_KEYRING without a name: a new, empty one in the place of the inherited one.

    A kernel without keys (ENOSYS), or a filter that we are under (EPERM) and our children too, is fine.
    Raises KernelFault: EDQUOT, ENOMEM.
    """
    try:
        syscall(
            _NR_KEYCTL,
            "keyctl",
            "join session keyring",
            register(KEYCTL_JOIN_SESSION_KEYRING),
            ctypes.c_char_p(None),
        )
    except KernelFault as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM):
            raise
