"""Binds, Mounts, Tmpfs and Volumes of a request as `MountPoint` values.

Source: Engine API, HostConfig. A later kind wins at the same destination only where dockerd lets it:
two mounts of a request at one place are an error, an image's VOLUME gives way to the request.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from wherryd.containers import kinds
from wherryd.containers.record import MountPoint
from wherryd.errors import InvalidParameter, NotSupported

_VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,254}")
_PROPAGATION = frozenset({"private", "rprivate", "shared", "rshared", "slave", "rslave"})
#: Of each of these -v takes one word.
_ONE_OF = (
    frozenset({"ro", "rw"}),
    frozenset({"z", "Z"}),
    _PROPAGATION,
    frozenset({"nocopy"}),
    frozenset({"consistent", "cached", "delegated"}),
)
_MODES = frozenset[str]().union(*_ONE_OF)

#: Mounting these over would take the container's foundations or the engine's protections away.
_FORBIDDEN = frozenset({"/", "/proc", "/sys", "/dev"})

MAX_MOUNTS = 256


def parse(
    config: Mapping[str, Any], host_config: Mapping[str, Any], inherited: Sequence[MountPoint] = ()
) -> tuple[MountPoint, ...]:
    """All mounts of a container; a volume without a source has no name yet. Raises InvalidParameter.

    inherited: of --volumes-from, the later wins; they give way to the request and come before the image.
    """
    points = [_bind(text) for text in host_config["Binds"] or ()]
    if any(point.type == "volume" for point in points):
        _check_driver(host_config["VolumeDriver"])
    points += [_mount(document) for document in host_config["Mounts"] or ()]
    points += [_tmpfs(path, options) for path, options in (host_config["Tmpfs"] or {}).items()]
    seen: set[str] = set()
    for point in points:
        if point.destination in seen:
            raise InvalidParameter(f"Duplicate mount point: {point.destination}")
        seen.add(point.destination)
    points += [
        point
        for point in {each.destination: each for each in inherited}.values()
        if point.destination not in seen
    ]
    seen |= {point.destination for point in inherited}
    for path in config["Volumes"] or {}:
        destination = check_destination(path)
        if destination not in seen:
            _check_driver(host_config["VolumeDriver"])
            seen.add(destination)
            points.append(_volume("", destination, (), anonymous=True))
    if len(points) > MAX_MOUNTS:
        raise InvalidParameter(f"more than {MAX_MOUNTS} mounts")
    return tuple(points)


def _check_driver(name: str) -> None:
    """--volume-driver, which counts only where a volume would be made by it. Raises InvalidParameter."""
    if name not in ("", "local"):
        raise InvalidParameter(
            f'error looking up volume plugin {name}: plugin "{name}" not found '
            "(hint: there are local volumes only)"
        )


def check_destination(path: str) -> str:
    if not path.startswith("/"):
        raise InvalidParameter(f"invalid mount path: '{path}' mount path must be absolute")
    clean = "/" + str(PurePosixPath(path)).strip("/")
    if ".." in PurePosixPath(clean).parts:
        raise InvalidParameter(f"invalid mount path: '{path}' must not contain '..'")
    if clean in _FORBIDDEN:
        raise InvalidParameter(f"invalid specification: destination can't be '{clean}'")
    return clean


def _bind(text: str) -> MountPoint:
    """`source:destination[:modes]`; a source without a slash at its head is a volume's name."""
    parts = text.split(":")
    if len(parts) == 1:
        return _volume("", check_destination(parts[0]), (), anonymous=True)
    if len(parts) > 3 or not all(parts[:2]):
        raise InvalidParameter(f"invalid volume specification: '{text}'")
    modes = _modes(parts[2], _MODES) if len(parts) == 3 else ()
    destination = check_destination(parts[1])
    if not parts[0].startswith("/"):
        return _volume(check_volume_name(parts[0]), destination, modes, anonymous=False)
    propagation = next((mode for mode in modes if mode in _PROPAGATION), "rprivate")
    return MountPoint(
        type="bind",
        source=str(PurePosixPath(parts[0])),
        destination=destination,
        mode=",".join(modes),
        rw="ro" not in modes,
        propagation=propagation,
        options=("create",),
    )


def _modes(text: str, known: Collection[str]) -> tuple[str, ...]:
    """ "ro,z" -> ("ro", "z"). Raises InvalidParameter."""
    modes = tuple(filter(None, text.split(",")))
    if not set(modes) <= set(known) or any(len(kind.intersection(modes)) > 1 for kind in _ONE_OF):
        raise InvalidParameter(f"invalid mode: {text}")
    return modes


def inherit(points: Sequence[MountPoint], mode: str) -> list[MountPoint]:
    """The volumes and binds of another container (--volumes-from). mode: ro or rw, z or Z, with commas
    between; what the other may not write, this one may not either. Raises InvalidParameter."""
    read_only = "ro" in _modes(mode, _MODES - _PROPAGATION - {"nocopy"})
    return [
        replace(point, rw=point.rw and not read_only, mode=mode, copy_up=False)
        for point in points
        if point.type in ("volume", "bind")
    ]


def check_volume_name(name: str) -> str:
    if not _VOLUME_NAME.fullmatch(name):
        raise InvalidParameter(
            f'create {name}: "{name}" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, '
            "use absolute path"
        )
    return name


def _volume(name: str, destination: str, modes: tuple[str, ...], *, anonymous: bool) -> MountPoint:
    return MountPoint(
        type="volume",
        source="",
        destination=destination,
        name=name,
        driver="local",
        mode=",".join(modes) or "z",
        rw="ro" not in modes,
        anonymous=anonymous,
        copy_up="nocopy" not in modes,
    )


_BLOCKS = {"bind": "BindOptions", "volume": "VolumeOptions", "tmpfs": "TmpfsOptions", "image": "ImageOptions"}


def _mount(document: Mapping[str, Any]) -> MountPoint:
    """One entry of HostConfig.Mounts."""
    kind = document.get("Type")
    source, target = document.get("Source") or "", document.get("Target") or ""
    if not isinstance(source, str) or not isinstance(target, str):
        raise InvalidParameter("invalid mount config: Source and Target want strings")
    if not isinstance(kind, str) or kind not in _BLOCKS:
        raise InvalidParameter(
            f'invalid mount config for type "{kind}": mount type unknown (hint: {", ".join(_BLOCKS)})'
        )
    if kind == "volume" and source:
        check_volume_name(source)
    try:
        if not target:
            raise InvalidParameter("field Target must not be empty")
        for each, block in _BLOCKS.items():
            if each != kind and document.get(block) is not None:
                raise InvalidParameter(f"field {block} must not be specified")
        destination = check_destination(target)
        options = kinds.mapping(document.get(_BLOCKS[kind]) or {}, _BLOCKS[kind])
        read_only = bool(document.get("ReadOnly"))
        if kind == "bind":
            return _bind_mount(source, destination, options, read_only=read_only)
        if kind == "volume":
            return _volume_mount(source, destination, options, read_only=read_only)
        if kind == "image":
            return _image_mount(source, destination, options)
        if source:
            raise InvalidParameter("field Source must not be specified")
        return _tmpfs_mount(destination, options, read_only=read_only)
    except InvalidParameter as error:
        raise InvalidParameter(f'invalid mount config for type "{kind}": {error}') from error


def _bind_mount(source: str, destination: str, options: Mapping[str, Any], *, read_only: bool) -> MountPoint:
    if not source:
        raise InvalidParameter("field Source must not be empty")
    if not source.startswith("/"):
        raise InvalidParameter(f"invalid mount path: '{source}' mount path must be absolute")
    propagation = options.get("Propagation") or "rprivate"
    if propagation not in _PROPAGATION:
        raise InvalidParameter(f"invalid propagation mode: {propagation}")
    one_level, forced = bool(options.get("ReadOnlyNonRecursive")), bool(options.get("ReadOnlyForceRecursive"))
    if one_level and forced:
        raise InvalidParameter("mount options conflict: ReadOnlyNonRecursive && ReadOnlyForceRecursive")
    if (one_level or forced) and not read_only:
        raise InvalidParameter("ReadOnlyNonRecursive and ReadOnlyForceRecursive are for read-only mounts")
    if forced and propagation != "rprivate":
        raise InvalidParameter(
            "ReadOnlyForceRecursive needs the propagation rprivate: what is mounted below later would be "
            "writable"
        )
    return MountPoint(
        type="bind",
        source=str(PurePosixPath(source)),
        destination=destination,
        rw=not read_only,
        propagation=propagation,
        options=("create",) if options.get("CreateMountpoint") else (),
        recursive=not options.get("NonRecursive"),
        writable_below=one_level,
    )


def _volume_mount(
    source: str, destination: str, options: Mapping[str, Any], *, read_only: bool
) -> MountPoint:
    driver = (options.get("DriverConfig") or {}).get("Name") or "local"
    if driver != "local":
        raise NotSupported(f'error looking up volume plugin {driver}: plugin "{driver}" not found')
    subpath = _subpath(options.get("Subpath"))
    if subpath and not source:
        raise InvalidParameter("must not set Subpath when using anonymous volumes")
    given = (options.get("DriverConfig") or {}).get("Options") or {}
    driver_options = kinds.string_map(given, "VolumeOptions.DriverConfig.Options")
    # What the image has is for the whole volume; a sub-path has to be there already.
    keeps_empty = bool(options.get("NoCopy")) or bool(subpath)
    modes = (("ro",) if read_only else ()) + (("nocopy",) if keeps_empty else ())
    labels = kinds.string_map(options.get("Labels") or {}, "VolumeOptions.Labels")
    return replace(
        _volume(source, destination, modes, anonymous=not source),
        labels=labels,
        driver_options=driver_options,
        subpath=subpath,
    )


def _tmpfs_mount(destination: str, options: Mapping[str, Any], *, read_only: bool) -> MountPoint:
    words = [f"size={int(options['SizeBytes'])}"] if options.get("SizeBytes") else []
    words += [f"mode={int(options['Mode']):o}"] if options.get("Mode") else []
    for pair in options.get("Options") or ():
        if not isinstance(pair, list) or not 1 <= len(pair) <= 2:
            raise InvalidParameter("invalid option array length")
        if pair not in (["exec"], ["noexec"]):
            raise InvalidParameter(f"invalid option: {pair[0]}")
        words += pair
    return _tmpfs(destination, ",".join(words + (["ro"] if read_only else [])))


def _image_mount(source: str, destination: str, options: Mapping[str, Any]) -> MountPoint:
    """Read-only, whatever is asked for."""
    if not source:
        raise InvalidParameter("field Source must not be empty")
    subpath = _subpath(options.get("Subpath"), "image")
    return MountPoint(
        type="image", source="", destination=destination, name=source, rw=False, subpath=subpath
    )


def _subpath(value: Any, kind: str = "volume") -> str:
    path = kinds.string(value or "", f"{kind.title()}Options.Subpath")
    if path and (PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts or "\0" in path):
        raise InvalidParameter(f"subpath must be a relative path within the {kind}")
    return "" if not path else str(PurePosixPath(path))


def _tmpfs(path: str, options: str) -> MountPoint:
    given = tuple(filter(None, options.split(",")))
    for option in given:
        if not re.fullmatch(r"[a-z_]+(=[A-Za-z0-9%]+)?", option):
            raise InvalidParameter(f"invalid tmpfs option {option!r}")
    # As dockerd: nobody runs programs from a tmpfs unless the request says so.
    base = tuple(
        word
        for word in ("noexec", "nosuid", "nodev")
        if word.removeprefix("no") not in given and word not in given
    )
    return MountPoint(
        type="tmpfs",
        source="",
        destination=check_destination(path),
        rw="ro" not in given,
        options=(*base, *given),
    )
