"""User namespaces by descriptor, and mounts that show ids as such a namespace maps them.

A file of uid 0 on disk, seen through an id-mapped mount of a namespace that maps 0 to 100000, belongs to
100000, which is 0 again inside that namespace: one image serves every range, and nothing is chowned.
Source: mount_setattr(2) "ID-mapped mounts", user_namespaces(7).
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from wherryd.errors import KernelFault, RuntimeFault
from wherryd.spec.oci import IdMapping
from wherryd.sys import mounts
from wherryd.sys import namespaces as ns

Mappings = Sequence[IdMapping]


def host_id(mappings: Mappings, container_id: int) -> int | None:
    """What an id inside is outside; None when it is not mapped."""
    for each in mappings:
        if each.container_id <= container_id < each.container_id + each.size:
            return each.host_id + container_id - each.container_id
    return None


class Maps:
    """uid_map and gid_map of a new user namespace, held open: to be written once, and then closed.

    It need not be by then that anybody is in the namespace. Source: user_namespaces(7).
    """

    def __init__(self, process: Path) -> None:
        """process: /proc/<pid> of somebody in the namespace."""
        self._opened: list[tuple[str, int]] = []
        try:
            for name in ("uid_map", "gid_map"):
                self._opened.append((name, os.open(process / name, os.O_WRONLY | os.O_CLOEXEC)))
        except BaseException:
            self.close()
            raise

    def write(self, uids: Mappings, gids: Mappings) -> None:
        """Raises RuntimeFault."""
        for (name, fd), mappings in zip(self._opened, (uids, gids), strict=True):
            text = "".join(f"{each.container_id} {each.host_id} {each.size}\n" for each in mappings)
            try:
                os.write(fd, text.encode())
            except OSError as error:
                raise RuntimeFault(
                    f"write {name} of the user namespace: {error.strerror}: check the mappings"
                ) from error

    def close(self) -> None:
        """Done twice is fine."""
        while self._opened:
            os.close(self._opened.pop()[1])


@contextmanager
def namespace(uids: Mappings, gids: Mappings) -> Iterator[int]:
    """A new user namespace's descriptor; the namespace lives on as long as something is in it or uses it.

    Made by a process that has nothing else to do: who makes it by unshare(2) is in it, and could no longer
    do what must be done outside. Raises RuntimeFault, KernelFault.
    """

    def made(pid: int) -> int:
        process = process_directory(pid)
        with contextlib.closing(Maps(process)) as maps:
            maps.write(uids, gids)
        return os.open(process / "ns/user", os.O_RDONLY | os.O_CLOEXEC)

    fd = ns.with_sleeper(ns.CLONE_NEWUSER, made)
    try:
        yield fd
    finally:
        os.close(fd)


class Trial:
    """Tells by trying what can be id-mapped. Close it; twice is fine. Raises as `namespace` does."""

    def __init__(self, mappings: Mappings) -> None:
        with namespace(mappings, mappings) as fd:
            self._namespace = os.dup(fd)

    def word(self, path: str) -> str:
        """The option of a bind of path: "ridmap" where all that is mounted there can be mapped, "idmap" where
        the uppermost mount can, "" where it cannot. What is not there is the mount's own error."""
        for word, recursive in (("ridmap", True), ("idmap", False)):
            try:
                fd = mounts.clone_mount(path, recursive=recursive)
            except KernelFault:
                return "ridmap"
            try:
                apply(fd, self._namespace, path, recursive=recursive)
            except RuntimeFault:
                continue
            finally:
                os.close(fd)
            return word
        return ""

    def close(self) -> None:
        if self._namespace >= 0:
            os.close(self._namespace)
            self._namespace = -1


def process_directory(pid: int) -> Path:
    """A child's own in /proc, where it may have another number than we know it by: that of a container, with
    the engine's /proc still there. Source: pidfd_open(2), fdinfo."""
    pidfd = os.pidfd_open(pid)
    try:
        lines = Path(f"/proc/self/fdinfo/{pidfd}").read_text().splitlines()
    finally:
        os.close(pidfd)
    number = next(line.split()[1] for line in lines if line.startswith("Pid:"))
    return Path("/proc", number)


def apply(mount: int, user_namespace: int, subject: str, *, recursive: bool = False) -> None:
    """Makes a detached mount show ids as the namespace maps them. Raises RuntimeFault."""
    try:
        mounts.mount_setattr(
            mount,
            set_=mounts.MOUNT_ATTR_IDMAP,
            user_namespace=user_namespace,
            recursive=recursive,
            subject=subject,
        )
    except KernelFault as error:
        raise RuntimeFault(
            f"cannot map the ids of {subject}: {error}: its file system must support id-mapped mounts "
            "(ext4, xfs, btrfs, tmpfs and others do), and must not be mapped already"
        ) from error
