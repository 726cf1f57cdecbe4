"""The image service on a directory of its own, restarted at will: shared by the tests of images."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from images_rig import archive, directory, entry, pieces, saved

from wherryd.content import digest as digests
from wherryd.daemon.audit import Report, audit
from wherryd.images.service import ImageService
from wherryd.metadata.database import Database
from wherryd.spec.mount import Mount

Events = list[tuple[str, str]]
ROOTFS = archive(
    directory("./"), directory("etc"), entry("etc/hostname", b"box\n"), entry("old", b"o" * 1000)
)
SECOND = archive(entry(".wh.old"), directory("etc"), entry("etc/.wh..wh..opq"), entry("etc/new", b"n" * 10))


class Engine:
    """A service that can be restarted on its directory."""

    def __init__(self, root: Path, driver: str, options: Sequence[str] = ()) -> None:
        self.root = root
        self.driver = driver
        self.options = options
        self.events: Events = []
        self.database = Database(root / "wherry.db")
        self.images = self._service()

    def _service(self) -> ImageService:
        return ImageService(
            data_root=self.root,
            database=self.database,
            storage_driver=self.driver,
            storage_options=self.options,
            publish=self._publish,
        )

    def _publish(self, kind: str, action: str, actor: str, attributes: Mapping[str, str]) -> None:
        assert kind == "image"
        self.events.append((action, attributes.get("name", "")))  # of a prune there is none

    async def restart(self) -> None:
        await self.images.close()
        self.database.close()
        self.database = Database(self.root / "wherry.db")
        self.images = self._service()
        await self.images.open()

    async def bring(self, reference: str | None = "app:1", data: bytes = ROOTFS, *changes: str) -> str:
        lines = self.images.import_tar(pieces(data), reference=reference, changes=changes)
        return str([line async for line in lines][-1]["status"])

    async def load(self, data: bytes) -> list[dict[str, Any]]:
        return [line async for line in self.images.load(pieces(data))]

    async def save(self, *names: str) -> bytes:
        return b"".join([data async for data in self.images.save(names)])

    def layers_on_disk(self) -> int:
        return len(list((self.root / self.driver / "l").iterdir()))

    def blobs(self) -> int:
        return len(list((self.root / "content/blobs/sha256").iterdir()))

    def nothing_left(self) -> bool:
        ingest = list((self.root / "content/ingest").iterdir())
        return not self.layers_on_disk() and not self.blobs() and not ingest

    def audit(self, *, verify: bool = False) -> Report:
        return audit(self.root, verify=verify)


def seen_through(mounts: tuple[Mount, ...], script: str, tmp_path: Path) -> str:
    """What a shell prints inside the mounted file system, in a mount namespace of its own."""
    (mount,) = mounts
    target = tmp_path / "mnt"
    target.mkdir(exist_ok=True)
    how = ["--rbind"] if mount.type == "bind" else ["-t", mount.type]
    options = ",".join(option for option in mount.options if option != "rbind")
    steps = 'target=$1; script=$2; shift 2; mount "$@" "$target" && cd "$target" && sh -c "$script"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", steps, "sh", str(target), script, *how, "-o", options, mount.source],
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=False,
        timeout=30,
        # mount(8) of 2.41 hands each option to fsconfig(2), which takes 255 bytes of it.
        env={**os.environ, "LIBMOUNT_FORCE_MOUNT2": "always"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def two_layers(names: list[str]) -> bytes:
    config = {
        "architecture": "amd64",
        "os": "linux",
        "created": "2020-01-01T00:00:00Z",
        "config": {"Cmd": ["sh"], "Labels": {"a": "b"}},
        "rootfs": {"type": "layers", "diff_ids": [digests.of(ROOTFS), digests.of(SECOND)]},
        "history": [
            {"created_by": "one"},
            {"created_by": "two", "empty_layer": True},
            {"created_by": "three"},
        ],
    }
    return saved(json.dumps(config).encode(), [ROOTFS, SECOND], names)
