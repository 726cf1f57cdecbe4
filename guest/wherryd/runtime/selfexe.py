"""The engine's own program, put out of a container's reach before it enters one (CVE-2019-5736).

Until it becomes the container's program, a child of ours runs Python, and /proc/<pid>/exe names that very
file: `#!/proc/self/exe` as an image's entrypoint even runs it, with the container's own libraries. Whoever
holds it open can write to it later. So everything that enters a container is started from a detached
read-only mount of the interpreter, through which no one can open it for writing, root included.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from wherryd.errors import RuntimeFault
from wherryd.sys import mounts

_OWN: Final = "/proc/self/exe"
#: Set for a program that was started again, so that it is not tried for ever.
_STARTED_AGAIN: Final = "WHERRY_STARTED_AGAIN"


def is_protected() -> bool:
    """Whether our own program is on a mount that cannot be written through."""
    return bool(os.statvfs(_OWN).f_flag & os.ST_RDONLY)


@contextmanager
def protected_interpreter() -> Iterator[str]:
    """A path to start Python by, as long as the with statement lasts and this process is alive.

    argv[0] must be sys.executable, by which Python finds its library. Raises KernelFault.
    """
    fd = mounts.clone_mount(str(Path(sys.executable).resolve()), recursive=False)
    try:
        mounts.mount_setattr(fd, set_=mounts.MOUNT_ATTR_RDONLY, subject=sys.executable)
        yield f"/proc/{os.getpid()}/fd/{fd}"
    finally:
        os.close(fd)


def start_again_protected() -> None:
    """For a command: returns when it is protected, and otherwise begins anew with the same arguments.

    Raises RuntimeFault, KernelFault.
    """
    again = os.environ.pop(_STARTED_AGAIN, None)
    if is_protected():
        return
    if again is not None:
        raise RuntimeFault(f"{sys.executable} cannot be protected from containers: is /proc mounted?")
    os.environ[_STARTED_AGAIN] = "1"
    with protected_interpreter() as path:
        os.execv(path, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606
