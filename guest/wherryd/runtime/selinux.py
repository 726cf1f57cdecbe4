"""SELinux labels: not supported where the kernel enforces them, and without a meaning where it does not."""

from pathlib import Path
from typing import Final

from wherryd.errors import NotSupported
from wherryd.spec.oci import Spec

#: Its file system, mounted wherever SELinux is enabled.
_ENABLED: Final = "/sys/fs/selinux/enforce"


def without_effect(spec: Spec, flag: str = _ENABLED) -> tuple[str, ...]:
    """The config's labels that change nothing, by field. Raises NotSupported for those that would."""
    named = [("linux.mountLabel", spec.linux.mount_label)]
    if spec.process is not None:
        named.append(("process.selinuxLabel", spec.process.selinux_label))
    given = tuple(field for field, label in named if label)
    if given and Path(flag).exists():
        raise NotSupported(
            f"{', '.join(given)}: this runtime does not set SELinux labels, and SELinux is enabled here: "
            "remove it from the config, or use another runtime (--runtime)"
        )
    return given
