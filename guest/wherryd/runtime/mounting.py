"""Mounts are made as detached descriptors and put on descriptors: no path in the root is used twice.

A mount gets all its attributes before it becomes visible, so nothing is ever writable "for a moment".
"""

import contextlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from wherryd.errors import EngineError, KernelFault, RuntimeFault
from wherryd.runtime import idmap
from wherryd.runtime.mountoptions import Attributes, MountOptions, parse
from wherryd.spec.mount import Mount
from wherryd.spec.oci import Linux, NamespaceKind, SpecMount
from wherryd.sys import mounts, paths

_OVERLAY_LIST: Final = "lowerdir"


@contextmanager
def detached(fd: int) -> Iterator[int]:
    """Closes the descriptor; a detached mount that was not attached anywhere goes with it."""
    try:
        yield fd
    finally:
        os.close(fd)


def new_filesystem(fstype: str, source: str, options: MountOptions, *, skip: tuple[str, ...] = ()) -> int:
    """A detached mount of a new file system. Raises RuntimeFault with the kernel's own words."""
    context = mounts.fsopen(fstype)
    try:
        _configure(context, "source", source or fstype, fstype)
        for name, value in options.data:
            if name not in skip:
                _configure(context, name, value, fstype)
        _told(context, fstype, lambda: mounts.fsconfig(context, mounts.FSCONFIG_CMD_CREATE))
        # The mount starts with no attribute: what is to be cleared is clear.
        return mounts.fsmount(context, options.attributes.set_ | options.recursive_attributes.set_)
    finally:
        os.close(context)


def _configure(context: int, name: str, value: str | None, fstype: str) -> None:
    command = mounts.FSCONFIG_SET_FLAG if value is None else mounts.FSCONFIG_SET_STRING
    _told(context, fstype, lambda: mounts.fsconfig(context, command, name, value))


def _told(context: int, fstype: str, action: Callable[[], None]) -> None:
    """Runs action; on failure adds what the file system wrote into its context ("e overlay: ...")."""
    try:
        action()
    except KernelFault as error:
        words = []
        try:
            while True:
                words.append(os.read(context, 4096).decode(errors="replace").strip())
        except OSError:  # ENODATA: no (more) messages
            pass
        detail = f" ({'; '.join(words)})" if words else ""
        raise RuntimeFault(f"mount {fstype}: {error}{detail}") from error


def set_attributes(fd: int, options: MountOptions, subject: str) -> None:
    for attributes, recursive in ((options.attributes, False), (options.recursive_attributes, True)):
        if attributes:
            mounts.mount_setattr(
                fd, set_=attributes.set_, clear=_clearable(attributes), recursive=recursive, subject=subject
            )


def _clearable(attributes: Attributes) -> int:
    """The access time is one field: the kernel wants all of its bits cleared to set any."""
    if attributes.set_ & mounts.MOUNT_ATTR__ATIME:
        return attributes.clear | mounts.MOUNT_ATTR__ATIME
    return attributes.clear


def set_propagation(fd: int, options: MountOptions, subject: str) -> None:
    for kind, recursive in options.propagation:
        mounts.mount_setattr(fd, propagation=kind, recursive=recursive, subject=subject)


@contextmanager
def told(each: SpecMount) -> Iterator[None]:
    """Errors name the mount, in runc's words. Raises RuntimeFault."""
    try:
        yield
    except (EngineError, OSError) as error:
        raise RuntimeFault(
            f"error mounting {each.source or each.kind!r} to rootfs at {each.destination!r}: {error}"
        ) from error


def is_shared(options: MountOptions) -> bool:
    return any(kind == mounts.MS_SHARED for kind, _ in options.propagation)


@contextmanager
def id_namespace(mount: SpecMount, linux: Linux, user_namespace: int = -1) -> Iterator[int]:
    """The user namespace whose mapping a bind mount of the config wants; -1 for none.

    user_namespace: the container's own, when it is there, to be used where the mappings are the same.
    """
    if not (mount.uid_mappings or {"idmap", "ridmap"} & set(mount.options)):
        yield -1
        return
    uids, gids = mount.uid_mappings or linux.uid_mappings, mount.gid_mappings or linux.gid_mappings
    if user_namespace >= 0 and (uids, gids) == (linux.uid_mappings, linux.gid_mappings):
        yield user_namespace
        return
    with idmap.namespace(uids, gids) as made:
        yield made


def bind(source: str, options: MountOptions, id_namespace: int = -1) -> int:
    """A detached copy of source (on our side) with its attributes set, and its ids mapped if it is to be."""
    fd = mounts.clone_mount(source, recursive=options.recursive_bind)
    try:
        if id_namespace >= 0:
            idmap.apply(fd, id_namespace, source, recursive=options.recursive_idmap)
        set_attributes(fd, options, source)
    except BaseException:
        os.close(fd)
        raise
    return fd


def mount_root(
    directory: str, layers: tuple[Mount, ...], id_namespace: int = -1, *, private: bool = False
) -> None:
    """Puts the root file system on a directory of ours; without layers the directory itself becomes a mount.

    id_namespace: a user namespace by which the ids of layers are mapped, except of an overlay, whose own
    layers are mapped (outside.py); -1 = not. private: what is mounted below does not spread. Runs inside the
    container's own mount namespace if it has one, so nothing of it is seen outside.
    """
    if not layers:
        with detached(mounts.clone_mount(directory, recursive=True)) as copy, opened(directory) as target:
            if private:
                mounts.mount_setattr(copy, propagation=mounts.MS_PRIVATE, recursive=True, subject=directory)
            mounts.move_mount(copy, target, directory)
        return
    for layer in layers:
        with (
            opened(directory) as root,
            detached(_layer(layer, id_namespace)) as mount,
            detached(paths.mkdir_in_root(root, layer.target)) as target,
        ):
            mounts.move_mount(mount, target, f"{directory}/{layer.target}")


def unmount_root(namespaces: Iterable[str], rootfs: str) -> None:
    """namespaces: kinds the container has. Without one for its mounts they outlive it. Twice is fine."""
    if NamespaceKind.MOUNT not in namespaces:
        with contextlib.suppress(KernelFault):  # EINVAL: nothing is mounted there
            mounts.umount2(rootfs, mounts.MNT_DETACH | mounts.UMOUNT_NOFOLLOW)


@contextmanager
def opened(directory: str) -> Iterator[int]:
    fd = paths.open_root(directory)
    try:
        yield fd
    finally:
        os.close(fd)


def _layer(layer: Mount, id_namespace: int) -> int:
    options = parse(layer.options)
    if layer.type in ("bind", "rbind") or options.bind:
        return bind(layer.source, options, id_namespace)
    if layer.type == "overlay":
        return _overlay(layer.source, options)
    fd = new_filesystem(layer.type, layer.source, options)
    if id_namespace >= 0:
        try:
            idmap.apply(fd, id_namespace, layer.source)
        except BaseException:
            os.close(fd)
            raise
    return fd


def _overlay(source: str, options: MountOptions) -> int:
    """fsconfig takes strings of up to 255 bytes, so lower layers are given one by one (Linux 6.8)."""
    context = mounts.fsopen("overlay")
    try:
        _configure(context, "source", source or "overlay", "overlay")
        for name, value in options.data:
            if name == _OVERLAY_LIST and value is not None:
                for lower in split_lower(value):
                    _configure_path(context, "lowerdir+", lower)
            elif name in ("upperdir", "workdir") and value is not None:
                _configure_path(context, name, value)
            else:
                _configure(context, name, value, "overlay")
        _told(context, "overlay", lambda: mounts.fsconfig(context, mounts.FSCONFIG_CMD_CREATE))
        return mounts.fsmount(context, options.attributes.set_ | options.recursive_attributes.set_)
    finally:
        os.close(context)


def read_only_overlay(lowers: Sequence[str]) -> int:
    """Two layers or more, uppermost first, as a detached mount that goes with its descriptor."""
    context = mounts.fsopen("overlay")
    try:
        for lower in lowers:
            _configure_path(context, "lowerdir+", lower)
        _told(context, "overlay", lambda: mounts.fsconfig(context, mounts.FSCONFIG_CMD_CREATE))
        return mounts.fsmount(context, mounts.MOUNT_ATTR_RDONLY)
    finally:
        os.close(context)


def _configure_path(context: int, name: str, path: str) -> None:
    """A directory of any length: a long one is named by a descriptor."""
    if len(os.fsencode(path)) < 256:
        _configure(context, name, path, "overlay")
        return
    with opened(path) as fd:
        _configure(context, name, paths.self_fd(fd), "overlay")


def split_lower(value: str) -> list[str]:
    r"""lowerdir=/a:/b\:c -> ["/a", "/b:c"]. Source: filesystems/overlayfs.rst."""
    parts, current, escaped = [], "", False
    for letter in value:
        if escaped or letter not in "\\:":
            current, escaped = current + letter, False
        elif letter == "\\":
            escaped = True
        else:
            parts.append(current)
            current = ""
    return [*parts, current]


def null_device() -> int:
    """A detached mount of /dev/null, checked to be the real one (CVE-2025-31133)."""
    with detached(os.open("/dev/null", paths.O_PATH | os.O_CLOEXEC)) as fd:
        status = os.fstat(fd)
        if not stat.S_ISCHR(status.st_mode) or status.st_rdev != os.makedev(1, 3):
            raise RuntimeFault("/dev/null is not the null device (character device 1:3): repair /dev")
        return protect_node(mounts.clone_mount("", recursive=False, dirfd=fd), "/dev/null")


def protect_node(copy: int, subject: str) -> int:
    """The same mount of a device node of the host, made read-only.

    The device can still be written to. Its node cannot be changed: the container's root may be the host's,
    and `chmod 0 /proc/keys`, a mask, would be one of the host's /dev/null.
    """
    try:
        mounts.mount_setattr(copy, set_=mounts.MOUNT_ATTR_RDONLY | mounts.MOUNT_ATTR_NOSUID, subject=subject)
    except BaseException:
        os.close(copy)
        raise
    return copy
