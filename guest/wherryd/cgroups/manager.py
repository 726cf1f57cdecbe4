"""The seam: what a container's cgroup can do, and which of v1 and v2 this machine has.

Mount points are read from /proc/self/mountinfo once per process: they do not change while it runs.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from wherryd.errors import InvalidParameter, SystemFault, Unavailable

if TYPE_CHECKING:
    from wherryd.cgroups.stats import CgroupStats
    from wherryd.spec.oci import Resources

#: Where containers live when config.json names no cgroupsPath.
PARENT: Final = "/wherry"

#: Longest waits for the kernel, in seconds.
FREEZE_TIMEOUT_S: Final = 10.0
KILL_TIMEOUT_S: Final = 10.0
REMOVE_TIMEOUT_S: Final = 5.0

_V1_CONTROLLERS = (
    "blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "hugetlb", "memory", "net_cls", "net_prio",
    "pids", "rdma",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Layout:
    """version: 1 or 2. mounts: controller -> where its hierarchy is mounted; for v2 only "" -> the tree."""

    version: int
    mounts: dict[str, Path]


@dataclass(frozen=True, slots=True)
class View:
    """A directory of the container's cgroup that it may see below /sys/fs/cgroup, under `name`."""

    name: str
    source: Path


class CgroupManager(Protocol):
    """One container's cgroup. All methods raise SystemFault when the kernel says no."""

    @property
    def version(self) -> int: ...

    @property
    def path(self) -> str:
        """Absolute within the hierarchy: "/wherry/<id>"."""
        ...

    def create(self) -> None:
        """Makes it. Raises Conflict when it is there and has processes."""
        ...

    def apply(self, resources: Resources) -> None:
        """Sets limits. Raises SystemFault or Unavailable for one that cannot be enforced here."""
        ...

    def enter(self) -> None:
        """The calling process joins; its children are born inside."""
        ...

    def admit(self, pid: int) -> tuple[int, ...]:
        """Lets another process in, a child of one thread. What is left for it to do: `join` with these
        descriptors, which may be used from any namespace. Moving it from outside may wait for an RCU grace
        period, 10 ms and more on a busy machine; a thread that moves itself need not (Linux 5.17).
        """
        ...

    def pids(self) -> list[int]: ...
    def stats(self) -> CgroupStats: ...
    def oom_kills(self) -> int: ...

    def freeze(self) -> None:
        """Returns when every process has stopped."""
        ...

    def thaw(self) -> None: ...

    def kill(self) -> None:
        """SIGKILL to all, frozen or not; returns when none is left."""
        ...

    def destroy(self) -> None:
        """Removes it with what the container made below it. Done twice is fine."""
        ...

    def views(self) -> list[View]: ...


def join(entrances: Iterable[int]) -> None:
    """The calling process, of one thread, goes where `admit` has let it in; closes the descriptors."""
    for fd in entrances:
        try:
            os.write(fd, b"0")
        except OSError as error:
            raise SystemFault(f"cannot join the container's cgroup: {error.strerror}") from error
        finally:
            os.close(fd)


def normalise(cgroups_path: str, container_id: str) -> str:
    """config-linux.md, "Cgroups Path": absolute as it is, relative below our parent, "" chosen by us."""
    if cgroups_path.count(":") == 2:
        raise InvalidParameter(
            f"linux.cgroupsPath {cgroups_path!r} is for systemd's cgroup driver; give a path such as "
            f"{PARENT}/{container_id}"
        )
    path = posixpath.normpath(posixpath.join(PARENT, cgroups_path or container_id))
    if path == "/" or ".." in cgroups_path.split("/"):
        raise InvalidParameter(f"linux.cgroupsPath {cgroups_path!r} must name a group of its own")
    return path


@cache
def layout() -> Layout:
    """Raises Unavailable when no cgroup hierarchy is mounted."""
    return parse_layout(Path("/proc/self/mountinfo").read_text())


def parse_layout(mountinfo: str) -> Layout:
    """v2 when it is mounted at /sys/fs/cgroup itself; a hybrid machine's controllers are v1's."""
    mounts: dict[str, Path] = {}
    unified: Path | None = None
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        if not separator:
            continue
        fstype, _, rest = after.partition(" ")
        mount_point = Path(before.split()[4].replace("\\040", " "))
        if fstype == "cgroup2":
            unified = mount_point if unified is None or mount_point == Path("/sys/fs/cgroup") else unified
        elif fstype == "cgroup":
            options = rest.split()[-1].split(",")
            for name in _V1_CONTROLLERS:
                if name in options:
                    # The system's own came first; what a test or a chroot has bound since is not ours to use.
                    mounts.setdefault(name, mount_point)
    if mounts:
        return Layout(1, mounts)
    if unified is not None:
        return Layout(2, {"": unified})
    raise Unavailable("no cgroup hierarchy is mounted: mount one with `mount -t cgroup2 none /sys/fs/cgroup`")
