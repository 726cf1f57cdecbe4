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
        from wherryd.sys import mounts

        self._fd = mounts.clone_mount(os.path.realpath(sys.executable), recursive=False)
        try:
            mounts.mount_setattr(self._fd, set_=mounts.MOUNT_ATTR_RDONLY, subject=sys.executable)
        except BaseException:
            os.close(self._fd)
            raise
        return f"/proc/{os.getpid()}/fd/{self._fd}"

    def __exit__(self, *_error: object) -> None:
        os.close(self._fd)


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
