"""What must be done before init enters its user namespace, because from inside it is not allowed.

In a mount namespace of its own, still with the engine's power: the layers and the sources of binds are
opened and id-mapped, the root file system is put together, and becomes the working directory, so that it
is found again without a path that the container's root may not walk. Order of the whole, see init.py.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wherryd.errors import RuntimeFault
from wherryd.runtime import devices, idmap, mounting, namespaces
from wherryd.runtime.mountoptions import parse
from wherryd.spec.mount import Mount
from wherryd.spec.oci import Linux, NamespaceKind, Spec
from wherryd.sys import capabilities, mounts, process
from wherryd.sys import namespaces as ns

#: Options of an overlay that name directories; a list is separated by colons.
_DIRECTORIES: Final = ("lowerdir", "upperdir", "workdir")


@dataclass(frozen=True, slots=True)
class Prepared:
    """sources: number of a mount in the config -> what is to be mounted, detached. nodes: paths of the device
    nodes that are in them. The working directory is the root."""

    sources: dict[int, int]
    nodes: frozenset[str]


def prepare(rootfs: str, layers: tuple[Mount, ...], spec: Spec, user_namespace: int) -> Prepared:
    """Relative sources are taken from the working directory, the bundle. Raises EngineError."""
    ns.unshare(ns.CLONE_NEWNS)
    sources: dict[int, int] = {}
    for shared in (True, False):
        if not shared:
            mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_SLAVE)
        for number, each in enumerate(spec.mounts):
            options = parse(each.options)
            # See rootfs.shared_sources: those that shall be shared come first.
            if (options.bind or each.kind == "bind") and mounting.is_shared(options) is shared:
                with mounting.told(each), mounting.id_namespace(each, spec.linux, user_namespace) as mapping:
                    sources[number] = mounting.bind(each.source, options, mapping)
    for number, each in enumerate(spec.mounts):
        if each.kind == "proc" and not namespaces.needs_stage(spec.linux) and _has_pids(spec.linux):
            with mounting.told(each):
                sources[number] = mounting.new_filesystem("proc", each.source, parse(each.options))
    nodes: frozenset[str] = frozenset()
    if layers and spec.linux.uid_mappings:
        layers = tuple(mapped(layer, rootfs, user_namespace) for layer in layers)
        with _as_root_inside(spec.linux):
            mounting.mount_root(rootfs, layers, user_namespace)
            nodes = _make_dev(spec, sources)
    else:
        mounting.mount_root(rootfs, layers)
    os.chdir(rootfs)
    return Prepared(sources, nodes)


def _has_pids(linux: Linux) -> bool:
    return NamespaceKind.PID in linux.namespaces


def _make_dev(spec: Spec, sources: dict[int, int]) -> frozenset[str]:
    """A tmpfs on /dev, with its nodes; their paths. Inside, no node can be made, and none in a file system
    that was mounted there would open."""
    for number, each in enumerate(spec.mounts):
        options = parse(each.options)
        # What depends on the directory below is not known here.
        fresh = options.value("mode") is not None and not options.copy_up
        writable = not options.attributes.set_ & mounts.MOUNT_ATTR_RDONLY
        if each.destination == "/dev" and each.kind == "tmpfs" and fresh and writable:
            with mounting.told(each):
                sources[number] = mounting.new_filesystem("tmpfs", each.source, options)
                return devices.make_nodes_of(sources[number], spec.linux)
    return frozenset()


def mapped(layer: Mount, rootfs: str, user_namespace: int) -> Mount:
    """An overlay whose layers, the upper one too, are reached through one id-mapped copy of the folder that
    they have in common, mounted where the overlay then covers it.

    So what the container writes has on disk the ids that it has inside, and nothing is ever shifted. One copy
    for all: it must be mounted, as the kernel takes no detached mount for a layer before Linux 6.15.
    """
    if layer.type != "overlay":
        return layer
    words = [option.partition("=") for option in layer.options]
    listed = {
        name: mounting.split_lower(value) if name == "lowerdir" else [value]
        for name, _, value in words
        if name in _DIRECTORIES
    }
    common = os.path.commonpath([Path(each).parent for group in listed.values() for each in group])
    with mounting.detached(mounts.clone_mount(common, recursive=False)) as copy:
        idmap.apply(copy, user_namespace, common)
        with mounting.opened(rootfs) as target:
            mounts.move_mount(copy, target, rootfs)
    options = []
    for name, equals, value in words:
        if name in _DIRECTORIES:
            moved = [str(Path(rootfs, os.path.relpath(each, common))) for each in listed[name]]
            value = ":".join(each.replace("\\", "\\\\").replace(":", "\\:") for each in moved)
        options.append(f"{name}{equals}{value}")
    return Mount(layer.type, layer.source, layer.target, tuple(options))


@contextmanager
def _as_root_inside(linux: Linux) -> Iterator[None]:
    """Files are made in the name of the container's root, with all of our own power.

    An overlay keeps who mounted it, and works on its upper layer as that user: one whose id the layer's
    mapping does not know could not make a file there, and the overlay would be read-only.
    """
    uid, gid = idmap.host_id(linux.uid_mappings, 0), idmap.host_id(linux.gid_mappings, 0)
    if uid is None or gid is None:
        raise RuntimeFault("linux.uidMappings and gidMappings must map 0: the root file system belongs to it")
    effective, permitted, inheritable = capabilities.capget()

    def become(uid: int, gid: int) -> None:
        process.setfsgid(gid)
        process.setfsuid(uid)
        # Leaving 0 has taken those of the file system out of force.
        capabilities.capset(effective=effective, permitted=permitted, inheritable=inheritable)

    become(uid, gid)
    try:
        yield
    finally:
        become(0, 0)
