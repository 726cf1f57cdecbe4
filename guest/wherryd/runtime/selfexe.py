"""The engine's own program, put out of a container's reach before it enters one (CVE-2019-5736).

Until it becomes the container's program, a child of ours runs Python, and /proc/<pid>/exe names that very
file: `#!/proc/self/exe` as an image's entrypoint even runs it, with the container's own libraries. Whoever
holds it open can write to it later. So everything that enters a container is started from a detached
read-only mount of the interpreter, through which no one can open it for writing, root included.
"""

import os
import sys

_OWN = "/proc/self/exe"
#: Set for a program that was started again, so that it is not tried for ever.
_STARTED_AGAIN = "WHERRY_STARTED_AGAIN"

# wherry-runc imports this before it begins anew, and all that was imported until then is imported twice: so
# no typing, no contextlib and no pathlib here, and what makes mounts only where one is made.


def is_protected() -> bool:
    """Whether our own program is on a mount that cannot be written through."""
    return bool(os.statvfs(_OWN).f_flag & os.ST_RDONLY)


class protected_interpreter:  # noqa: N801 - used as a with statement's function
    """A path to start Python by, as long as the with statement lasts and this process is alive.

    argv[0] must be sys.executable, by which Python finds its library. Raises KernelFault.
    """

    def __enter__(self) -> str:
        self._fd = _read_only_mount(os.path.realpath(sys.executable))
        return f"/proc/{os.getpid()}/fd/{self._fd}"

    def __exit__(self, *_error: object) -> None:
        os.close(self._fd)


def _read_only_mount(path: str) -> int:
    """A detached mount of a file, as sys/mounts.py makes it, without its imports. Raises KernelFault."""
    import ctypes

    call = ctypes.CDLL(None, use_errno=True).syscall
    empty, number = ctypes.c_char_p(b""), ctypes.c_long
    # open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)
    fd = int(call(number(428), number(-100), ctypes.c_char_p(os.fsencode(path)), number(0o2000001)))
    name = "open_tree"
    if fd >= 0:
        # mount_setattr(fd, "", AT_EMPTY_PATH, {attr_set: MOUNT_ATTR_RDONLY, ...}, sizeof)
        wanted = (ctypes.c_uint64 * 4)(1)
        if call(number(442), number(fd), empty, number(0x1000), wanted, number(ctypes.sizeof(wanted))) == 0:
            return fd
        name = "mount_setattr"
    error = ctypes.get_errno()
    if fd >= 0:
        os.close(fd)
    from wherryd.errors import KernelFault

    raise KernelFault(name, path, error)


def start_again_protected() -> None:
    """For a command: returns when it is protected, and otherwise begins anew with the same arguments.

    Raises RuntimeFault, KernelFault.
    """
    again = os.environ.pop(_STARTED_AGAIN, None)
    if is_protected():
        return
    if again is not None:
        from wherryd.errors import RuntimeFault

        raise RuntimeFault(f"{sys.executable} cannot be protected from containers: is /proc mounted?")
    os.environ[_STARTED_AGAIN] = "1"
    with protected_interpreter() as path:
        os.execv(path, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606
