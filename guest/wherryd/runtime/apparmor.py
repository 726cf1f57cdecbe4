"""The AppArmor profile a process is confined by from its exec on.

Written through a /proc that was opened on our own side: the container's could be a trap (CVE-2019-16884,
CVE-2025-52881). The kernel takes a change only from the process itself, so the path is looked up late,
by a descriptor of that /proc, in which "self" is always the caller.
Source: apparmor(7), aa_change_onexec(2); the kernel's security/apparmor/lsm.c.
"""

import os
from pathlib import Path
from typing import Final

from wherryd.errors import NotSupported, RuntimeFault

_ENABLED: Final = "/sys/module/apparmor/parameters/enabled"
#: Where AppArmor has its attributes to itself (Linux 5.8), and where it shares them with other modules.
_ATTRIBUTES: Final = ("self/attr/apparmor/exec", "self/attr/exec")


def is_enabled(flag: str = _ENABLED) -> bool:
    try:
        return Path(flag).read_text().strip() == "Y"
    except OSError:
        return False


def check(profile: str) -> None:
    """Raises NotSupported: a profile that cannot be put into force is never left out silently."""
    if profile and not is_enabled():
        raise NotSupported(
            f"process.apparmorProfile {profile!r}: AppArmor is not enabled in this kernel: "
            "remove it from the config, or boot with apparmor=1"
        )


def open_proc(profile: str) -> int:
    """Our own /proc, for `change_on_exec`; -1 when there is no profile. The caller closes it."""
    return os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) if profile else -1


def change_on_exec(proc: int, profile: str) -> None:
    """The next execve of the calling process enters the profile. Raises RuntimeFault."""
    for number, name in enumerate(_ATTRIBUTES):
        try:
            fd = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=proc)
        except FileNotFoundError:
            if number == len(_ATTRIBUTES) - 1:
                raise RuntimeFault(f"cannot enter AppArmor profile {profile}: /proc has no {name}") from None
            continue
        try:
            os.write(fd, f"exec {profile}".encode())
        except OSError as error:
            raise RuntimeFault(
                f"cannot enter AppArmor profile {profile}: {error.strerror}: is it loaded? see aa-status(8)"
            ) from error
        finally:
            os.close(fd)
        return
