"""What must be done before init enters its user namespace, because from inside it is not allowed.

In a mount namespace of its own, still with the engine's power: the layers and the sources of binds are
opened and id-mapped, the root file system is put together, and becomes the working directory, so that it
is found again without a path that the container's root may not walk. Order of the whole, see init.py.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wherryd.errors import EngineError, RuntimeFault
from wherryd.runtime import idmap, mounting
from wherryd.runtime.mountoptions import parse
from wherryd.spec.mount import Mount
from wherryd.spec.oci import Linux, Spec
from wherryd.sys import mounts, paths
from wherryd.sys import namespaces as ns

_LOWER: Final = "lower{}"


@dataclass(frozen=True, slots=True)
class Prepared:
    """sources: number of the mount in the config -> its detached copy. The working directory is the root."""

    sources: dict[int, int]


def prepare(rootfs: str, layers: tuple[Mount, ...], spec: Spec, user_namespace: int) -> Prepared:
    """Relative sources are taken from the working directory, the bundle. Raises EngineError."""
    ns.unshare(ns.CLONE_NEWNS)
    mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_SLAVE)
    sources: dict[int, int] = {}
    for number, each in enumerate(spec.mounts):
        options = parse(each.options)
        if options.bind or each.kind == "bind":
            try:
                with mounting.id_namespace(each, spec.linux, user_namespace) as mapping:
                    sources[number] = mounting.bind(each.source, options, mapping)
            except (EngineError, OSError) as error:
                raise RuntimeFault(
                    f"error mounting {each.source!r} to rootfs at {each.destination!r}: {error}"
                ) from error
    if layers and spec.linux.uid_mappings:
        layers = tuple(_mapped(layer, rootfs, spec.linux, user_namespace) for layer in layers)
    mounting.mount_root(rootfs, layers, user_namespace if spec.linux.uid_mappings else -1)
    os.chdir(rootfs)
    return Prepared(sources)


def _mapped(layer: Mount, rootfs: str, linux: Linux, user_namespace: int) -> Mount:
    """An overlay whose lower layers are id-mapped copies, on a folder in memory that the overlay then covers.

    The upper layer cannot be one of an id-mapped mount: its root belongs to the container's root, and what
    the container makes has the ids it has outside; they are shifted back when a layer is made of it.
    """
    if layer.type != "overlay":
        return layer
    options = parse(layer.options)
    lower = mounting.split_lower(options.value("lowerdir") or "")
    _give(options.value("upperdir"), linux)
    with (
        mounting.detached(mounting.new_filesystem("tmpfs", "tmpfs", parse(["mode=700"]))) as frame,
        mounting.opened(rootfs) as target,
    ):
        mounts.move_mount(frame, target, rootfs)
        for number, folder in enumerate(lower):
            name = _LOWER.format(number)
            os.mkdir(name, 0o700, dir_fd=frame)  # noqa: PTH102 - relative to a descriptor
            with (
                mounting.detached(mounts.clone_mount(folder, recursive=False)) as copy,
                paths.opened(frame, name) as place,
            ):
                idmap.apply(copy, user_namespace, folder)
                mounts.move_mount(copy, place, folder)
    mapped = ":".join(
        str(Path(rootfs, _LOWER.format(number))).replace("\\", "\\\\").replace(":", "\\:")
        for number in range(len(lower))
    )
    kept = [option for option in layer.options if not option.startswith("lowerdir=")]
    return Mount(layer.type, layer.source, layer.target, (f"lowerdir={mapped}", *kept))


def _give(upper: str | None, linux: Linux) -> None:
    """The upper layer's root belongs to whoever is root inside."""
    if upper is None:
        return
    uid, gid = idmap.host_id(linux.uid_mappings, 0), idmap.host_id(linux.gid_mappings, 0)
    status = Path(upper).stat()
    if uid is not None and gid is not None and (status.st_uid, status.st_gid) == (0, 0):
        os.chown(upper, uid, gid)
