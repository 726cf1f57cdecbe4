"""Finding a program in the container's own PATH. Runs inside the root; wording as runc's users know it."""

import errno
import os
import stat
from collections.abc import Sequence

from wherryd.errors import KernelFault, RuntimeFault
from wherryd.spec.defaults import PATH
from wherryd.sys import paths
from wherryd.sys.libc import AT_FDCWD

NOT_FOUND = 127
NOT_EXECUTABLE = 126


def find_executable(program: str, env: Sequence[str]) -> str:
    """The program's path. Raises RuntimeFault: 127 when there is none, 126 when it cannot be executed."""
    if "/" in program:
        problem = _problem(program)
        if problem is None:
            return program
        raise exec_fault(program, problem, looked_up=False)
    for directory in _search_path(env).split(":"):
        candidate = f"{directory or '.'}/{program}"
        if _problem(candidate) is None:
            return candidate
    raise RuntimeFault(f'exec: "{program}": executable file not found in $PATH', NOT_FOUND)


def _search_path(env: Sequence[str]) -> str:
    """The last PATH wins, as exec's environment has it."""
    for entry in reversed(env):
        if entry.startswith("PATH="):
            return entry[len("PATH=") :]
    return PATH


def _problem(path: str) -> int | None:
    """errno of why it cannot be executed, None when it can.

    A magic link of /proc is no program's name: /proc/self/exe would be our own (CVE-2019-5736).
    """
    try:
        fd = paths.openat2(AT_FDCWD, path, paths.O_PATH, resolve=paths.RESOLVE_NO_MAGICLINKS)
    except KernelFault as error:
        return error.errno
    try:
        status = os.fstat(fd)
    finally:
        os.close(fd)
    if stat.S_ISDIR(status.st_mode):
        return errno.EISDIR
    if not stat.S_ISREG(status.st_mode) or not os.access(path, os.X_OK, effective_ids=True):
        return errno.EACCES
    return None


def exec_fault(program: str, number: int | None, *, looked_up: bool) -> RuntimeFault:
    """The error of a program that is there by name but could not be run."""
    text = os.strerror(number or errno.EIO).lower()
    missing = number in (errno.ENOENT, errno.ENOTDIR)
    if missing and looked_up:
        # The file is there: what is missing is the interpreter it names (#!, or the ELF loader).
        return RuntimeFault(f"exec {program}: {text}: the program's interpreter is missing", NOT_FOUND)
    if missing:
        return RuntimeFault(f'exec: "{program}": stat {program}: {text}', NOT_FOUND)
    return RuntimeFault(
        f'exec: "{program}": {text}' if not looked_up else f"exec {program}: {text}", NOT_EXECUTABLE
    )
