"""overlayfs: a layer is a directory, a container is an upper directory on a stack of layers.

Kernel: Documentation/filesystems/overlayfs.rst. A layer's directory holds whiteouts in overlayfs's own
form, so layers are used as they lie, without a copy.
"""

import os
from collections.abc import Callable
from pathlib import Path

from wherryd.errors import InvalidParameter, SystemFault
from wherryd.snapshots.driver import DirectoryDriver
from wherryd.snapshots.index import Record
from wherryd.snapshots.protocol import Kind, Whiteouts
from wherryd.spec.mount import Mount

# mount(2) copies one page of options; fs/namespace.c, copy_mount_options.
_MAX_OPTION_BYTES = 4095
# The kernel stacks up to 500, Docker stops at 128 lower directories; so do we, with one for the container.
MAX_LAYERS = 127

_PARAMETERS = Path("/sys/module/overlay/parameters")


class OverlayDriver(DirectoryDriver):
    name = "overlay"
    whiteouts = Whiteouts.OVERLAY

    @property
    def prepares_at_once(self) -> bool:
        return True

    def __init__(self, root: Path) -> None:
        """Raises InvalidParameter for a path that cannot be written in mount options."""
        if any(character in str(root) for character in ",:\\"):
            raise InvalidParameter(
                f'overlay cannot work below "{root}": choose a --data-root without "," ":" and "\\"'
            )
        super().__init__(root)
        self._features = _features()

    def set_aside(self, key: str) -> Callable[[], None]:
        return self._index.set_aside(key)

    def _create(self, record: Record) -> None:
        super()._create(record)
        if record.kind is Kind.ACTIVE and record.parent:
            self._index.work(record).mkdir(mode=0o700)
        if record.parent:
            # The merged root shows the uppermost directory's owner and mode.
            below = self._index.files(self._index.committed(record.parent)).stat()
            os.chown(self._index.files(record), below.st_uid, below.st_gid)
            self._index.files(record).chmod(below.st_mode & 0o7777)

    def _mounts(self, record: Record) -> tuple[Mount, ...]:
        lowers = self._index.chain(record.parent)
        if len(lowers) > MAX_LAYERS:
            raise InvalidParameter(
                f"{len(lowers)} layers, the limit is {MAX_LAYERS}; build the image with fewer instructions"
            )
        if record.kind is Kind.COMMITTED:
            raise InvalidParameter(f'snapshot "{record.key}" is committed; make a view of it')
        if not lowers:
            return self._bind(record, writable=record.kind is Kind.ACTIVE)
        if record.kind is Kind.VIEW and len(lowers) == 1:
            return self._bind(lowers[0], writable=False)
        options = ["lowerdir=" + ":".join(str(self._index.files(lower)) for lower in lowers)]
        if record.kind is Kind.ACTIVE:
            options += [f"upperdir={self._index.files(record)}", f"workdir={self._index.work(record)}"]
            options += self._features
        if len(",".join(options)) > _MAX_OPTION_BYTES:
            raise SystemFault(
                f"{len(lowers)} layers below {self._index.root} do not fit into one mount call; "
                "move --data-root to a shorter path"
            )
        return (Mount("overlay", "overlay", "", tuple(options)),)


def _features() -> list[str]:
    """Features that would make an upper directory unusable outside of its mount, switched off.

    index: a second mount of the same layers by a restarted engine would fail with ESTALE or EBUSY.
    redirect_dir, metacopy: the upper directory alone would no longer tell what a container changed.
    """
    return [f"{name}=off" for name in ("index", "redirect_dir", "metacopy") if (_PARAMETERS / name).exists()]
