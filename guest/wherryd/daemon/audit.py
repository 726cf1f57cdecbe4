"""What lies below a data root, to whom it belongs, and whether what is listed is whole.

Everything is looked at once, by its place; nothing is changed, so it may be done beside a running engine.
The sums are of allocated bytes, a hard link once, and add up to what `du -s` says of the data root.

    content/blobs, content/ingest        images' configs, layers' recipes; half-written ones
    content/partial                      beginnings of blobs, which belong to a lease (images/leases.py)
    <driver>/{m,l,w,trash}               snapshots/index.py
    containers/<id>, volumes/<name>      containers/files.py, containers/volumes.py
    builder/{builds,cache,blobs}         builder/service.py
"""

import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from wherryd.content.digest import short
from wherryd.daemon.options import CONFIG_FILE
from wherryd.errors import InvalidParameter, SystemFault
from wherryd.images.layers import archive_of
from wherryd.snapshots.drivers import DRIVERS
from wherryd.snapshots.index import Record, read_records
from wherryd.snapshots.protocol import Kind

#: Files of the data root itself.
_ENGINE = frozenset(
    {"wherry.db", "wherry.db-wal", "wherry.db-shm", "engine-id", "lock", "certs.d", CONFIG_FILE}
)
NOBODY = "unowned"


@dataclass(frozen=True, slots=True)
class Unowned:
    """path: below the data root. size_bytes: allocated."""

    path: str
    size_bytes: int
    reason: str


@dataclass(slots=True)
class Report:
    """sizes: category -> allocated bytes. damaged: sentences about what is listed and not whole."""

    sizes: Counter[str] = field(default_factory=Counter)
    unowned: list[Unowned] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not self.unowned and not self.damaged

    @property
    def total_bytes(self) -> int:
        return sum(self.sizes.values())


@dataclass(frozen=True, slots=True)
class _Layer:
    parent: str
    diff_id: str
    recipe: str


@dataclass(frozen=True, slots=True)
class _Known:
    """What the database says. images: id -> uppermost layer. documents: of indexes, in the content store."""

    images: dict[str, str]
    names: dict[str, str]
    layers: dict[str, _Layer]
    containers: frozenset[str]
    partials: frozenset[str]
    documents: frozenset[str]


def audit(root: Path, *, verify: bool = False) -> Report:
    """verify: read every layer back and compare its digest, which takes as long as `save` of all images.

    Raises InvalidParameter when there is no data root, SystemFault when its database cannot be read.
    """
    if not (root / "wherry.db").is_file():
        raise InvalidParameter(
            f"{root} is no data root of wherryd: it has no wherry.db (hint: --data-root DIR)"
        )
    known = _read_database(root / "wherry.db")
    found = _Audit(root, known, Report())
    found.look()
    found.check_images(verify)
    return found.report


def _read_database(path: Path) -> _Known:
    try:
        # A writer may be at work: read-only, and one snapshot for all questions.
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None)
        try:
            connection.execute("BEGIN")
            rows = connection.execute
            return _Known(
                images=dict(rows("SELECT id, top_layer FROM images")),
                names={image: name for name, image in rows("SELECT reference, image_id FROM tags")},
                layers={
                    chain: _Layer(parent, diff_id, recipe)
                    for chain, parent, diff_id, recipe in rows(
                        "SELECT chain_id, parent, diff_id, recipe FROM layers"
                    )
                },
                containers=frozenset(row[0] for row in rows("SELECT id FROM containers")),
                partials=frozenset(
                    row[0] for row in rows("SELECT item FROM lease_items WHERE kind = 'partial'")
                ),
                documents=frozenset(row[0] for row in rows("SELECT digest FROM index_documents")),
            )
        finally:
            connection.close()
    except sqlite3.Error as exc:
        raise SystemFault(f"cannot read {path}: {exc}; start wherryd once, which migrates it") from exc


class _Audit:
    def __init__(self, root: Path, known: _Known, report: Report) -> None:
        self.report = report
        self._root = root
        self._known = known
        self._seen: set[tuple[int, int]] = set()
        self._mounted = _mount_points()
        self._snapshots: dict[str, Path] = {}
        self._recipes = {layer.recipe for layer in known.layers.values()}

    def look(self) -> None:
        self.report.sizes["engine"] += self._own_bytes(self._root)
        places: dict[str, Callable[[Path], None]] = {
            "content": self._content,
            "containers": self._containers,
            "volumes": self._volumes,
            "builder": self._builder,
            "lost+found": self._lost_and_found,
            **dict.fromkeys(DRIVERS, self._driver),
        }
        for path in _entries(self._root):
            if path.name in places:
                self._owned("engine", self._own_bytes(path))
                places[path.name](path)
            elif path.name in _ENGINE or path.name.startswith("wherry.db-"):
                self._owned("engine", self._bytes(path))
            else:
                self._nobodys(path, "not a name that wherryd uses")

    # the places

    def _content(self, folder: Path) -> None:
        for path in _entries(folder):
            if path.name == "blobs":
                self._owned("engine", self._own_bytes(path))
                for below in _entries(path):
                    self._owned("engine", self._own_bytes(below))
                    self._blobs(below)
            elif path.name == "ingest":
                self._owned("engine", self._own_bytes(path))
                for below in _entries(path):
                    self._nobodys(below, "half-written content")
            elif path.name == "partial":
                self._owned("engine", self._own_bytes(path))
                for below in _entries(path):
                    self._partials(below)
            else:
                self._nobodys(path, "not a name that the content store uses")

    def _partials(self, path: Path) -> None:
        if f"sha256:{path.name}" in self._known.partials:
            self._owned("interrupted pulls", self._bytes(path))
        else:
            self._nobodys(path, "no pull is going to go on with this beginning of a blob")

    def _blobs(self, folder: Path) -> None:
        for path in _entries(folder):
            digest = f"sha256:{path.name}"
            if digest in self._known.images or digest in self._recipes or digest in self._known.documents:
                self._owned("image metadata", self._bytes(path))
            else:
                self._nobodys(path, "no image and no layer refers to this content")

    def _driver(self, folder: Path) -> None:
        if not (folder / "m").is_dir():
            self._nobodys(folder, "a storage driver's folder without an index")
            return
        records = {record.id: record for record in read_records(folder)}
        for path in _entries(folder):
            if path.name not in ("m", "l", "w", "trash"):
                self._owned("engine", self._bytes(path))
                continue
            self._owned("engine", self._own_bytes(path))
            for below in _entries(path):
                if path.name == "trash":
                    self._nobodys(below, "of a removed snapshot: not deleted yet, or interrupted")
                elif path.name == "m":
                    self._owned("engine", self._own_bytes(below))
                else:
                    self._snapshot(below, records.get(below.name))
        for record in records.values():
            if record.kind is Kind.COMMITTED:
                self._snapshots[record.key] = folder / "l" / record.id

    def _snapshot(self, path: Path, record: Record | None) -> None:
        size = self._bytes(path)
        if record is None:
            self._nobodys(path, "a snapshot's folder without a record", size)
        elif record.kind is Kind.COMMITTED:
            if record.key in self._known.layers:
                self._owned("layers", size)
            else:
                self._nobodys(path, f"snapshot {record.key} is no layer of the database", size)
        elif record.key.partition(".")[0] in self._known.containers:
            # Its own file system, and those of images that it mounts.
            self._owned("containers", size)
        else:
            self._nobodys(path, f"snapshot {record.key} belongs to no container", size)

    def _containers(self, folder: Path) -> None:
        for path in _entries(folder):
            if path.name in self._known.containers:
                self._owned("containers", self._bytes(path))
            else:
                self._nobodys(path, "files of a container that is not known")

    def _volumes(self, folder: Path) -> None:
        for path in _entries(folder):
            if (path / "volume.json").is_file():
                self._owned("volumes", self._bytes(path))
            else:
                self._nobodys(path, "a volume without volume.json")

    def _builder(self, folder: Path) -> None:
        for path in _entries(folder):
            if path.name == "builds":
                self._owned("engine", self._own_bytes(path))
                for below in _entries(path):
                    self._nobodys(below, "a build that was interrupted")
            else:
                self._owned("build cache", self._bytes(path))

    def _lost_and_found(self, folder: Path) -> None:
        """The file system's own, where the data root is one."""
        for path in _entries(folder):
            self._nobodys(path, "found by a check of the file system")

    # whole or not

    def check_images(self, verify: bool) -> None:
        blobs = self._root / "content" / "blobs" / "sha256"
        for digest in sorted(self._known.documents):
            if not (blobs / digest.removeprefix("sha256:")).is_file():
                self.report.damaged.append(f"attestation {short(digest)} of an index is missing")
        checked: dict[str, str] = {}
        for image_id, top in self._known.images.items():
            name = self._known.names.get(image_id, "no name")
            for problem in self._image_problems(image_id, top, verify, checked):
                self.report.damaged.append(f"image {short(image_id)} ({name}): {problem}")

    def _image_problems(
        self, image_id: str, top: str, verify: bool, checked: dict[str, str]
    ) -> Iterator[str]:
        blobs = self._root / "content" / "blobs" / "sha256"
        if not (blobs / image_id.removeprefix("sha256:")).is_file():
            yield "its config is missing"
        while top:
            layer = self._known.layers.get(top)
            if layer is None:
                yield f"layer {top} is not in the database"
                return
            if top not in checked:
                checked[top] = self._layer_problem(top, layer, blobs, verify)
            if checked[top]:
                yield f"layer {top}: {checked[top]}"
            top = layer.parent

    def _layer_problem(self, chain: str, layer: _Layer, blobs: Path, verify: bool) -> str:
        directory = self._snapshots.get(chain)
        recipe = blobs / layer.recipe.removeprefix("sha256:")
        if directory is None:
            return "its files are missing"
        if not recipe.is_file():
            return "its recipe is missing"
        if not verify:
            return ""
        if not directory.is_dir():
            return "its files are not a directory and cannot be read here"
        try:
            with recipe.open("rb") as file:
                for _ in archive_of(layer.diff_id, directory, file):
                    pass
        except SystemFault as exc:
            return str(exc)
        return ""

    # sums

    def _owned(self, category: str, size_bytes: int) -> None:
        self.report.sizes[category] += size_bytes

    def _nobodys(self, path: Path, reason: str, size_bytes: int | None = None) -> None:
        size_bytes = self._bytes(path) if size_bytes is None else size_bytes
        self.report.sizes[NOBODY] += size_bytes
        self.report.unowned.append(Unowned(str(path.relative_to(self._root)), size_bytes, reason))

    def _own_bytes(self, path: Path) -> int:
        """Of the file or directory itself; 0 for what was counted by another name."""
        try:
            status = path.lstat()
        except FileNotFoundError:
            return 0
        identity = (status.st_dev, status.st_ino)
        if identity in self._seen:
            return 0
        self._seen.add(identity)
        return status.st_blocks * 512

    def _bytes(self, top: Path) -> int:
        """With everything below it, but not across a mount."""
        size, waiting = self._own_bytes(top), [str(top)]
        while waiting:
            folder = waiting.pop()
            if folder in self._mounted:
                continue
            try:
                entries = list(os.scandir(folder))
            except (FileNotFoundError, NotADirectoryError):
                continue
            for entry in entries:
                if entry.path in self._mounted:
                    continue
                size += self._own_bytes(Path(entry.path))
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
        return size


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []


def _mount_points() -> frozenset[str]:
    lines = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
    return frozenset(line.split()[4].encode().decode("unicode_escape", "replace") for line in lines)
