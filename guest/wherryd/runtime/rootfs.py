"""The container's file system tree: root, mounts, masked and read-only paths, and the pivot into it.

Runs in the child, in its new mount namespace, before it gives up any power. Targets are resolved by
the kernel inside the root (sys/paths.py) and mounted on by descriptor (mounting.py).
"""

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from wherryd.cgroups.manager import CgroupManager
from wherryd.errors import KernelFault, RuntimeFault
from wherryd.runtime import copyup, mounting
from wherryd.runtime.mountoptions import MountOptions, parse
from wherryd.runtime.outside import Prepared
from wherryd.spec.mount import Mount
from wherryd.spec.oci import Linux, NamespaceKind, Spec, SpecMount
from wherryd.sys import mounts, paths
from wherryd.sys.libc import AT_FDCWD

#: Below /proc only these may be covered by a mount: files that lxcfs and the like replace.
_PROC_TARGETS: Final = (
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/net/dev",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/uptime",
)

#: What the kernel's own files are on. The masks and device nodes that follow are found by these names again,
#: and a link could mean another place by then.
_FOUNDATIONS: Final = ("/proc", "/sys", "/dev")

#: propagation word -> what it makes of the container's root, once nothing of the host's is above it.
_ROOT_PROPAGATION: Final = {
    "shared": mounts.MS_SHARED,
    "rshared": mounts.MS_SHARED | mounts.MS_REC,
    "unbindable": mounts.MS_UNBINDABLE,
    "runbindable": mounts.MS_UNBINDABLE | mounts.MS_REC,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RootfsPlan:
    """path: where the root is put, on our side. layers: mounts that make it, from the snapshotter.

    join: brings this process into its cgroup and cgroup namespace, if it is not there yet. prepared: what was
    done outside of its user namespace, if it has one."""

    path: str
    layers: tuple[Mount, ...]
    spec: Spec
    cgroup: CgroupManager
    join: Callable[[], None]
    prepared: Prepared | None = None


def build(plan: RootfsPlan) -> int:
    """All mounts up to, not including, masks; an O_PATH descriptor of the root. Raises EngineError."""
    linux = plan.spec.linux
    sources = {} if plan.prepared is None else plan.prepared.sources
    if linux.is_new(NamespaceKind.MOUNT):
        if plan.prepared is None:
            sources = shared_sources(plan.spec)
        mounts.mount(None, "/", None, mounts.MS_REC | tree_propagation(linux))
    if plan.prepared is None:
        # In a mount namespace of somebody else what is mounted below the root must not spread.
        private = not linux.is_new(NamespaceKind.MOUNT)
        mounting.mount_root(plan.path, plan.layers, private=private)
        root = paths.open_root(plan.path)
    else:
        root = _own_root()
    for number, each in enumerate(plan.spec.mounts):
        with mounting.told(each):
            _mount(root, each, plan, sources.get(number))
    return root


def tree_propagation(linux: Linux) -> int:
    """What becomes of the host's mounts in our copy before anything is mounted. Ours must not leak out."""
    cut_off = linux.rootfs_propagation.endswith(("private", "unbindable"))
    return mounts.MS_PRIVATE if cut_off else mounts.MS_SLAVE


def shared_sources(spec: Spec) -> dict[int, int]:
    """Number of a mount -> its copy, of binds that shall be shared. They are taken while the host's mounts
    still are what they are there: of a slave's copy nothing would ever be seen outside."""
    found = {}
    for number, each in enumerate(spec.mounts):
        options = parse(each.options)
        if (options.bind or each.kind == "bind") and mounting.is_shared(options):
            with mounting.told(each), mounting.id_namespace(each, spec.linux) as mapping:
                found[number] = mounting.bind(each.source, options, mapping)
    return found


def _own_root() -> int:
    """The working directory, on a mount of our own: the one that is there came with the mount namespace, and
    the kernel locks what comes from a namespace with more power."""
    with paths.opened(AT_FDCWD, ".", paths.O_PATH | os.O_DIRECTORY) as here:
        copy = mounts.clone_mount("", recursive=True, dirfd=here)
        mounts.move_mount(copy, here, "/")
    return copy


def _mount(root: int, each: SpecMount, plan: RootfsPlan, source: int | None) -> None:
    """source: a bind's copy, or a new file system, when it was taken or made before."""
    options = parse(each.options)
    if options.bind or each.kind == "bind":
        early = source is not None and plan.prepared is None
        _bind(root, each, options, _source(each, options, plan) if source is None else source, renew=early)
    elif each.kind == "cgroup":
        _cgroup(root, each, options, plan)
    else:
        _filesystem(root, each, options, source)


def _source(each: SpecMount, options: MountOptions, plan: RootfsPlan) -> int:
    """A detached copy of what is bound."""
    # A relative source is taken from the bundle, where we stand.
    with mounting.id_namespace(each, plan.spec.linux) as mapping:
        return mounting.bind(each.source, options, mapping)


def _bind(root: int, each: SpecMount, options: MountOptions, source: int, *, renew: bool = False) -> None:
    with mounting.detached(source):
        status = os.fstat(source)
        if stat.S_ISDIR(status.st_mode):
            target = _directory(root, each)
        else:
            target = paths.create_in_root(root, each.destination)
        with mounting.detached(target):
            _check_target(root, target, each, stat.S_ISDIR(status.st_mode))
            mounting.set_propagation(source, options, each.source)
            mounts.move_mount(source, target, each.destination)
            if renew:
                _renew(source, target, each)


def _renew(source: int, target: int, each: SpecMount) -> None:
    """Puts a new copy in the place of one taken early: mountinfo lists mounts by age (Linux 6.8), and
    config.md, "Mounts", promises the order of the config."""
    with mounting.detached(mounts.clone_mount("", recursive=True, dirfd=source)) as copy:
        # The old one goes alone: with it, what is mounted below it would go from the host as well.
        mounts.mount_setattr(source, propagation=mounts.MS_PRIVATE, recursive=True, subject=each.destination)
        mounts.umount2(paths.self_fd(source), mounts.MNT_DETACH)
        mounts.move_mount(copy, target, each.destination)


def _check_target(root: int, target: int, each: SpecMount, directory: bool) -> None:
    if directory != paths.is_directory(target):
        raise RuntimeFault(
            "not a directory: are you trying to mount a directory onto a file (or vice-versa)? "
            "check if the specified host path exists and is the expected type"
        )
    try:
        with paths.opened(root, "/proc") as proc:
            inside = os.fstat(target).st_dev == os.fstat(proc).st_dev != os.fstat(root).st_dev
    except KernelFault:
        return  # this root has no /proc
    if inside and each.destination not in _PROC_TARGETS:
        raise RuntimeFault(f"{each.destination} cannot be mounted because it is inside /proc")


def _directory(root: int, each: SpecMount) -> int:
    """Where a directory is mounted, made if it is missing; for the foundations no link may be on the way.

    With /proc -> /volume/x the volume, mounted later, has another x, and what is masked there is not what
    procfs is on (CVE-2019-19921, CVE-2023-27561).
    """
    if each.kind not in ("proc", "sysfs") and each.destination not in _FOUNDATIONS:
        return paths.mkdir_in_root(root, each.destination)
    resolve = paths.RESOLVE_IN_ROOT | paths.RESOLVE_NO_SYMLINKS
    path = each.destination.lstrip("/") or "."
    flags = paths.O_PATH | os.O_DIRECTORY
    try:
        try:
            return paths.openat2(root, path, flags, resolve=resolve)
        except KernelFault as error:
            if error.errno != errno.ENOENT:
                raise
        os.close(paths.mkdir_in_root(root, each.destination))
        return paths.openat2(root, path, flags, resolve=resolve)
    except KernelFault as error:
        if error.errno not in (errno.ELOOP, errno.ENOTDIR):
            raise
        raise RuntimeFault(
            f"{each.kind or 'bind'} must be mounted on an ordinary directory, and {each.destination} is a "
            "link or a file in the image: make it a directory"
        ) from error


def _filesystem(root: int, each: SpecMount, options: MountOptions, made: int | None = None) -> None:
    was_there = _open_if_there(root, each.destination) if each.kind == "tmpfs" else None
    if was_there is not None:
        os.close(was_there)
    target = _directory(root, each)
    with mounting.detached(target):
        if each.kind not in ("proc", "sysfs"):
            _check_target(root, target, each, True)
        if was_there is not None and options.value("mode") is None:
            options = _with_mode(options, stat.S_IMODE(os.fstat(target).st_mode))
        if options.copy_up and each.kind != "tmpfs":
            raise RuntimeFault("mount option tmpcopyup is for a tmpfs only: leave it out")
        attributes = options.attributes
        if options.copy_up:
            # Read-only only once it is filled.
            options = replace(options, attributes=attributes.with_((0, mounts.MOUNT_ATTR_RDONLY)))
        fd = mounting.new_filesystem(each.kind, each.source, options) if made is None else made
        with mounting.detached(fd) as mount:
            if options.copy_up:
                if was_there is not None:
                    copyup.copy_up(target, mount, each.destination)
                read_only = attributes.set_ & mounts.MOUNT_ATTR_RDONLY
                mounts.mount_setattr(mount, set_=read_only, subject=each.destination)
            mounting.set_propagation(mount, options, each.destination)
            mounts.move_mount(mount, target, each.destination)


def _with_mode(options: MountOptions, mode: int) -> MountOptions:
    """A tmpfs takes over the mode of a directory of the image that it covers, as runc does. Where there was
    none it has the kernel's own, and everybody may write."""
    return replace(options, data=(*options.data, ("mode", f"{mode:o}")))


def _cgroup(root: int, each: SpecMount, options: MountOptions, plan: RootfsPlan) -> None:
    """config.md, "Mounts", type cgroup: only the container's own part is seen.

    v2: the tree, whose root a cgroup namespace makes the container's own group; without a namespace its
    directory is bound. v1: a tmpfs with the container's directory of each controller bound into it.
    """
    plan.join()
    if plan.cgroup.version == 2 and NamespaceKind.CGROUP in plan.spec.linux.namespaces:
        _filesystem(
            root,
            SpecMount(destination=each.destination, kind="cgroup2", source="cgroup", options=each.options),
            options,
        )
        return
    if plan.cgroup.version == 2:
        (view,) = plan.cgroup.views()
        copy = mounting.bind(str(view.source), options)
        _bind(
            root,
            SpecMount(destination=each.destination, kind="bind", source=str(view.source)),
            options,
            copy,
        )
        return
    _cgroup_v1(root, each, options, plan)


def _cgroup_v1(root: int, each: SpecMount, options: MountOptions, plan: RootfsPlan) -> None:
    frame = parse([*(word for word in each.options if word not in ("ro", "rro")), "mode=755"])
    _filesystem(root, SpecMount(destination=each.destination, kind="tmpfs", source="tmpfs"), frame)
    seen: set[str] = set()
    with paths.opened(root, each.destination) as directory:
        for view in plan.cgroup.views():
            if view.name in seen:
                continue
            seen.add(view.name)
            # The tmpfs is fresh and ours: nothing can be in the way.
            os.mkdir(view.name, 0o755, dir_fd=directory)  # noqa: PTH102
            with (
                mounting.detached(mounting.bind(str(view.source), options)) as mount,
                paths.opened(directory, view.name) as target,
            ):
                mounts.move_mount(mount, target, f"{each.destination}/{view.name}")
        for name in seen:
            # /sys/fs/cgroup/cpu and /cpuacct are links where one mount serves both.
            for part in name.split(",") if "," in name else ():
                os.symlink(name, part, dir_fd=directory)
        if options.attributes.set_ & mounts.MOUNT_ATTR_RDONLY:
            mounts.mount_setattr(directory, set_=mounts.MOUNT_ATTR_RDONLY, subject=each.destination)


def mask(root: int, spec: Spec) -> None:
    """Masked paths are covered by the null device or an empty folder; missing ones are skipped."""
    empty = -1
    try:
        for path in spec.linux.masked_paths:
            target = _open_if_there(root, path)
            if target is None:
                continue
            with mounting.detached(target):
                if not paths.is_directory(target):
                    cover = mounting.null_device()
                elif empty != -1:
                    cover = mounts.clone_mount("", recursive=False, dirfd=empty)
                else:
                    # Attached before it is cloned: a detached mount can only be cloned since Linux 6.15.
                    empty = mounting.new_filesystem(
                        "tmpfs", "tmpfs", parse(["ro", "nr_inodes=2", "mode=755"])
                    )
                    mounts.move_mount(empty, target, path)
                    continue
                with mounting.detached(cover):
                    mounts.move_mount(cover, target, path)
    finally:
        if empty != -1:
            os.close(empty)
    for path in spec.linux.readonly_paths:
        target = _open_if_there(root, path)
        if target is not None:
            with mounting.detached(target):
                _make_readonly(target, path)


def _make_readonly(target: int, path: str) -> None:
    with mounting.detached(mounts.clone_mount("", recursive=True, dirfd=target)) as copy:
        mounts.mount_setattr(copy, set_=mounts.MOUNT_ATTR_RDONLY, recursive=True, subject=path)
        mounts.move_mount(copy, target, path)


def _open_if_there(root: int, path: str) -> int | None:
    try:
        return paths.open_in_root(root, path, paths.O_PATH)
    except KernelFault as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return None
        raise


def make_root_readonly(root: int) -> None:
    mounts.mount_setattr(root, set_=mounts.MOUNT_ATTR_RDONLY, subject="/")


def enter(root: int, linux: Linux, *, pivot: bool = True) -> None:
    """pivot_root onto itself, then the old root, stacked below, is let go. Source: pivot_root(2), NOTES.

    In a mount namespace that others use too, it is only our own root that changes.
    """
    os.fchdir(root)
    if not linux.is_new(NamespaceKind.MOUNT):
        os.chroot(".")
        os.chdir("/")
        return
    if not pivot:
        _move(linux)
        return
    old = os.open("/", paths.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    mounts.pivot_root(".", ".")
    os.fchdir(old)
    os.close(old)
    # Unmounts below it must not travel to the host. Said of the new root, this would cut off its own mounts.
    mounts.mount(None, ".", None, mounts.MS_SLAVE | mounts.MS_REC)
    mounts.umount2(".", mounts.MNT_DETACH)
    os.chdir("/")
    _propagate(linux)


def _propagate(linux: Linux) -> None:
    change = _ROOT_PROPAGATION.get(linux.rootfs_propagation)
    if change is not None:
        mounts.mount(None, "/", None, change)


def _move(linux: Linux) -> None:
    """Without pivot_root, from the working directory: the host's mounts are taken away or, where they are
    held, covered: whoever got out of the chroot would find them. Then the root is moved over all.
    """
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    here = os.getcwd()  # noqa: PTH109
    for line in reversed(lines):
        fields = line.partition(" - ")[0].split()
        place, kind = fields[4].replace("\\040", " "), line.partition(" - ")[2].split()[0]
        if kind in ("proc", "sysfs") and not f"{place}/".startswith(f"{here}/"):
            mounts.mount(None, place, None, mounts.MS_SLAVE | mounts.MS_REC)
            try:
                mounts.umount2(place, mounts.MNT_DETACH)
            except KernelFault:
                mounts.mount("tmpfs", place, "tmpfs", 0)
    mounts.mount(".", "/", None, mounts.MS_MOVE)
    os.chroot(".")
    os.chdir("/")
    _propagate(linux)
