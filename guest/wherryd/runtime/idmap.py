"""User namespaces by descriptor, and mounts that show ids as such a namespace maps them.

A file of uid 0 on disk, seen through an id-mapped mount of a namespace that maps 0 to 100000, belongs to
100000, which is 0 again inside that namespace: one image serves every range, and nothing is chowned.
Source: mount_setattr(2) "ID-mapped mounts", user_namespaces(7).
"""

import contextlib
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

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


@contextmanager
def namespace(uids: Mappings, gids: Mappings) -> Iterator[int]:
    """A new user namespace's descriptor; the namespace lives on as long as something is in it or uses it.

    Made by a child that has nothing else to do: who makes it by unshare(2) is in it, and could no longer
    do what must be done outside. Needs our own /proc. Raises RuntimeFault, KernelFault.
    """
    receive, send = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        _hold(send)
    os.close(send)
    try:
        with os.fdopen(receive, "rb") as pipe:
            said = pipe.readline().decode().split()
        if len(said) != 1:
            raise KernelFault("unshare", "a user namespace", int(said[1]) if said else 0)
        # Our number for the child may be another one than that of the /proc we see.
        process = Path("/proc") / said[0]
        _write_maps(process, uids, gids)
        fd = os.open(process / "ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    try:
        yield fd
    finally:
        os.close(fd)


def _hold(send: int) -> NoReturn:
    """The child: makes the namespace, says which process it is, and waits to be killed."""
    try:
        try:
            ns.unshare(ns.CLONE_NEWUSER)
            os.write(send, os.readlink("/proc/self").encode() + b"\n")  # noqa: PTH115
        except (KernelFault, OSError) as error:
            os.write(send, f"error {error.errno}\n".encode())
        while True:
            signal.pause()
    finally:
        os._exit(1)


def _write_maps(process: Path, uids: Mappings, gids: Mappings) -> None:
    for name, mappings in (("uid_map", uids), ("gid_map", gids)):
        text = "".join(f"{each.container_id} {each.host_id} {each.size}\n" for each in mappings)
        try:
            (process / name).write_text(text)
        except OSError as error:
            raise RuntimeFault(
                f"write {name} of the user namespace: {error.strerror}: check the mappings"
            ) from error


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
