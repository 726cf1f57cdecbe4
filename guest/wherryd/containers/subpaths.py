"""Sub-paths of volumes and images (`--mount type=volume,...,volume-subpath=PATH`).

A sub-path is walked by descriptor with the volume or image as its ceiling, and what was found is mounted in
a folder of the engine's own while the container starts: another container that writes the volume could put a
symbolic link in the way at any moment. (The descriptor would not do: who mounts has another mount namespace.)
"""

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from wherryd.containers.deps import Deps
from wherryd.containers.record import ContainerRecord, MountPoint
from wherryd.errors import InvalidParameter, KernelFault
from wherryd.runtime import mounting
from wherryd.sys import mounts, paths
from wherryd.sys.libc import AT_FDCWD

#: Below the exec root: where sub-paths are mounted for a moment.
_FOLDER = "subpaths"
_BENEATH = paths.RESOLVE_BENEATH | paths.RESOLVE_NO_MAGICLINKS


@contextlib.contextmanager
def opened(deps: Deps, record: ContainerRecord) -> Iterator[ContainerRecord]:
    """The record with sources that lead straight to sub-paths of volumes, good inside the `with`. Raises
    InvalidParameter."""
    with ExitStack() as stack:
        yield replace(
            record,
            mounts=tuple(
                stack.enter_context(opened_point(deps, point)) if point.type == "volume" else point
                for point in record.mounts
            ),
        )


def folder(deps: Deps) -> Path:
    """Where something is mounted while a container starts."""
    found = deps.exec_root / _FOLDER
    found.mkdir(mode=0o700, parents=True, exist_ok=True)
    return found


def sweep(deps: Deps) -> None:
    """Once after a start of the engine: unmounts the sub-paths of starts that a kill cut short."""
    for each in folder(deps).iterdir():
        take_away(each)


@contextlib.contextmanager
def opened_point(deps: Deps, point: MountPoint) -> Iterator[MountPoint]:
    """The same for one whose source is there: the root of the volume or image."""
    if not point.subpath:
        yield point
        return
    with ExitStack() as stack:
        place = folder(deps) / secrets.token_hex(8)
        root = stack.enter_context(mounting.detached(paths.open_root(point.source)))
        try:
            found = stack.enter_context(
                mounting.detached(paths.openat2(root, point.subpath, os.O_PATH, resolve=_BENEATH))
            )
        except KernelFault as fault:
            raise InvalidParameter(_refusal(point, fault)) from fault
        stack.callback(take_away, place)
        if paths.is_directory(found):
            place.mkdir(mode=0o700)
        else:
            place.touch(mode=0o600)
        target = stack.enter_context(mounting.detached(paths.openat2(AT_FDCWD, str(place), os.O_PATH)))
        copy = stack.enter_context(mounting.detached(mounts.clone_mount("", recursive=True, dirfd=found)))
        mounts.move_mount(copy, target, str(place))
        yield replace(point, source=str(place))


def take_away(place: Path) -> None:
    """Unmounts what is mounted there, also one over the other. Idempotent."""
    try:
        while True:
            mounts.umount2(str(place), mounts.MNT_DETACH)
    except KernelFault as fault:
        if fault.errno not in (errno.EINVAL, errno.ENOENT):  # not mounted (any more), not there
            raise
    if place.is_dir():
        place.rmdir()
    else:
        place.unlink(missing_ok=True)


def _refusal(point: MountPoint, fault: KernelFault) -> str:
    head = f"cannot access path {point.subpath} of the {point.type} {point.name}"
    if fault.errno in (errno.EXDEV, errno.ELOOP):
        return f"{head}: it leads out of the {point.type}"
    return f"{head}: {os.strerror(fault.errno)} (hint: a sub-path must be there before it is mounted)"
