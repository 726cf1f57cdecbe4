"""Local volumes: a folder each, below DATA_ROOT/volumes.

    volumes/<name>/_data        what containers see
    volumes/<name>/volume.json  labels, options, creation time, whether the engine made it unasked

A volume with options `type=none,o=bind,device=/path` is that folder of the engine's machine, and its own
stays empty. With options of another type (tmpfs, nfs, ...) that file system is mounted on `_data` while a
container runs (volumemounts.py).

A volume exists when its volume.json does: it is written last and removed first.
"""

import asyncio
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from wherryd import clock
from wherryd.containers.mountpoints import check_volume_name
from wherryd.containers.volumemounts import VolumeMounts, unmount
from wherryd.errors import Conflict, InvalidParameter, NotFound, NotSupported
from wherryd.sys import durable

_RECORD = "volume.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    name: str
    mountpoint: Path
    created: str
    labels: Mapping[str, str]
    anonymous: bool
    options: Mapping[str, str]

    @property
    def source(self) -> Path:
        """The folder that containers see."""
        return Path(self.options["device"]) if is_bind(self.options) else self.mountpoint

    @property
    def is_mounted_on_demand(self) -> bool:
        return bool(self.options) and not is_bind(self.options)


class VolumeStore:
    """in_use: volume name -> ids of the containers that mount it."""

    def __init__(self, root: Path, in_use: Callable[[str], list[str]]) -> None:
        self._root = root
        self._in_use = in_use
        #: Held while a new volume is filled.
        self.filling = asyncio.Lock()
        self._mounts = VolumeMounts(lambda name: self._root / name / "_data")

    def open(self) -> None:
        """Removes what a kill left of volumes that were just being made or removed: they are no volumes."""
        self._root.mkdir(mode=0o701, parents=True, exist_ok=True)
        for folder in self._root.iterdir():
            if folder.is_dir() and not (folder / _RECORD).exists():
                unmount(folder / "_data")
                shutil.rmtree(folder)

    def create(
        self,
        name: str,
        labels: Mapping[str, str],
        *,
        anonymous: bool = False,
        options: Mapping[str, str] | None = None,
    ) -> Volume:
        """The volume; one that exists already is returned as it is.

        options: of the local driver. Raises InvalidParameter for its name or options, NotSupported.
        """
        name = check_volume_name(name) if name else secrets.token_hex(32)
        check_options(options or {})
        existing = self._load(name)
        if existing is not None:
            return existing
        folder = self._root / name
        (folder / "_data").mkdir(mode=0o755, parents=True, exist_ok=True)
        record = {"created": clock.now(), "labels": dict(labels), "anonymous": anonymous}
        if options:
            record["options"] = dict(options)
        durable.write(folder / _RECORD, json.dumps(record).encode())
        return self.get(name)

    async def hold(self, name: str, holder: str) -> None:
        """A file system of its own is mounted until `release(holder)`. Raises NotFound, InvalidParameter,
        SystemFault."""
        volume = self.get(name)
        if volume.is_mounted_on_demand:
            await self._mounts.hold(name, volume.options, holder)

    async def release(self, holder: str) -> None:
        await self._mounts.release(holder)

    async def sweep(self) -> None:
        """Once after a start of the engine, when everybody who lives holds what they use."""
        await self._mounts.sweep([volume.name for volume in self.all() if volume.is_mounted_on_demand])

    def exists(self, name: str) -> bool:
        return self._load(name) is not None

    def get(self, name: str) -> Volume:
        volume = self._load(name) if re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*", name) else None
        if volume is None:
            raise NotFound(f"get {name}: no such volume")
        return volume

    def _load(self, name: str) -> Volume | None:
        folder = self._root / name
        file = folder / _RECORD
        try:
            record = json.loads(file.read_text())
        except FileNotFoundError:
            return None
        except ValueError:
            # An engine before this one could leave it empty at a power cut. The data counts, and it is there.
            created = clock.from_nanoseconds(file.stat().st_mtime_ns)
            record = {"created": created, "labels": {}, "anonymous": False}
        return Volume(
            name=name,
            mountpoint=folder / "_data",
            created=record["created"],
            labels=record["labels"],
            anonymous=record["anonymous"],
            options=record.get("options", {}),
        )

    def all(self) -> list[Volume]:
        names = sorted(entry.name for entry in os.scandir(self._root) if entry.is_dir(follow_symlinks=False))
        return [volume for name in names if (volume := self._load(name)) is not None]

    def users(self, name: str) -> list[str]:
        return self._in_use(name)

    def remove(self, name: str, *, except_for: str = "") -> None:
        """Raises NotFound, and Conflict when a container mounts it other than `except_for`."""
        volume = self.get(name)
        users = [user for user in self._in_use(name) if user != except_for]
        if users:
            raise Conflict(f"remove {name}: volume is in use - [{', '.join(users)}]")
        if volume.is_mounted_on_demand:
            unmount(volume.mountpoint)  # or what is on the server would be removed
        (self._root / name / _RECORD).unlink()
        # Never follows symlinks, works by descriptors: what containers left behind cannot lead outside.
        shutil.rmtree(self._root / name)

    def prune(self, chosen: Callable[[Volume], bool]) -> tuple[list[str], int]:
        """Names and bytes of the unused volumes that were removed."""
        names, freed = [], 0
        for volume in self.all():
            if chosen(volume) and not self._in_use(volume.name):
                freed += _size(volume.mountpoint)
                self.remove(volume.name)
                names.append(volume.name)
        return names, freed

    def check_source(self, name: str) -> None:
        """Raises NotFound for the volume, InvalidParameter when the folder that it stands for is gone."""
        volume = self.get(name)
        if not volume.source.is_dir():
            raise InvalidParameter(
                f"failed to mount local volume: {volume.source} of the volume {name}: no such directory"
            )

    def size(self, name: str) -> int:
        return _size(self.get(name).mountpoint)


def is_bind(options: Mapping[str, str]) -> bool:
    """Whether the volume is a folder of the engine's machine."""
    return not {"bind", "rbind"}.isdisjoint(options.get("o", "").split(","))


def check_options(options: Mapping[str, str]) -> None:
    """Of the local driver: none, those of a bind, or those of a mount. Raises InvalidParameter, NotSupported.
    Source: Docker Engine, local volume driver, options type, o and device."""
    unknown = sorted(set(options) - {"type", "o", "device"})
    if unknown:
        raise InvalidParameter(f'invalid option: "{unknown[0]}" (hint: type, o and device)')
    if not options:
        return
    if not is_bind(options):
        missing = next((key for key in ("type", "device") if not options.get(key)), "")
        if missing:
            raise InvalidParameter(f'missing required option: "{missing}"')
        if options["type"] in ("none", "bind"):
            raise InvalidParameter(
                f"type={options['type']} wants o=bind (hint: type=none,o=bind,device=/path)"
            )
        return
    words = [word for word in options["o"].split(",") if word]
    if options.get("type", "none") not in ("", "none") or len(words) > 1:
        raise NotSupported(
            f"DriverOpts: type={options.get('type', '')},o={options['o']} is not available "
            "(hint: type=none,o=bind,device=/path; `-v NAME:/path:ro` mounts it read-only)"
        )
    if not options.get("device", "").startswith("/"):
        raise InvalidParameter('missing required option: "device" (hint: an absolute path)')


def _size(folder: Path) -> int:
    """Bytes allocated below the folder; symlinks are counted, not followed."""
    total = 0
    for _, _, files, handle in os.fwalk(folder, follow_symlinks=False):
        total += os.fstat(handle).st_blocks * 512
        for name in files:
            try:
                found = os.stat(name, dir_fd=handle, follow_symlinks=False)  # noqa: PTH116 - by descriptor
                total += found.st_blocks * 512
            except FileNotFoundError:
                continue  # removed by a container while we look
    return total
