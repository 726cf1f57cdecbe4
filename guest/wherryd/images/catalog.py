"""Images and their names: rows in the database, configs in the content store."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from wherryd import clock
from wherryd.content.store import ContentStore
from wherryd.errors import InvalidParameter, NotFound
from wherryd.images import platforms
from wherryd.images import reference as references
from wherryd.images.image import Image, Platform
from wherryd.images.indexes import IndexStore, NewIndex, StoredIndex
from wherryd.images.reference import Reference
from wherryd.metadata.database import Database
from wherryd.registry import manifests

_ID = re.compile(r"(?:sha256:)?([0-9a-f]{64})")
_PREFIX = re.compile(r"(?:sha256:)?([0-9a-f]{1,64})")


def not_found(text: str) -> NotFound:
    """In Docker's words; docker-py tells a missing image from other errors by them."""
    return NotFound(f"No such image: {text}")


class ImageCatalog:
    def __init__(self, database: Database, content: ContentStore) -> None:
        self._database = database
        self._content = content
        self._configs: dict[str, Mapping[str, Any]] = {}
        self.indexes = IndexStore(database, content)

    # reading

    def get(self, image_id: str) -> Image:
        """Raises NotFound."""
        rows = self._database.query("SELECT * FROM images WHERE id = ?", (image_id,))
        if not rows:
            raise not_found(image_id)
        own = self.own_references(image_id)
        names = own or self.references(image_id)
        config = self.config(image_id)
        return Image(
            id=image_id,
            config=config,
            chain_id=rows[0]["top_layer"],
            size_bytes=rows[0]["size_bytes"],
            created=config.get("created") or rows[0]["created_at"],
            parent=rows[0]["parent"],
            tags=tuple(name.familiar for name in names if not name.digest),
            digests=tuple(name.familiar for name in names if name.digest),
            index=self._index_of(image_id),
            is_part=not own and bool(names),
        )

    def config(self, image_id: str) -> Mapping[str, Any]:
        """The config document; a configuration never changes, so it is parsed once."""
        if image_id not in self._configs:
            self._configs[image_id] = json.loads(self._content.read(image_id))
        return self._configs[image_id]

    def all(self) -> list[Image]:
        return [self.get(row["id"]) for row in self._database.query("SELECT id FROM images ORDER BY rowid")]

    def tops(self) -> list[str]:
        """The uppermost layer of every image."""
        return [row["top_layer"] for row in self._database.query("SELECT top_layer FROM images")]

    def tops_by_id(self) -> dict[str, str]:
        return {
            row["id"]: row["top_layer"] for row in self._database.query("SELECT id, top_layer FROM images")
        }

    def ids(self) -> set[str]:
        return {row["id"] for row in self._database.query("SELECT id FROM images")}

    def count(self) -> int:
        """Images as they are listed: those of an index are one."""
        rows = self._database.query(
            "SELECT count(*) AS found FROM images WHERE id IN (SELECT image_id FROM tags) OR id NOT IN"
            " (SELECT m.image_id FROM tags t JOIN index_entries e ON e.index_digest = t.index_digest"
            " JOIN manifests m ON m.digest = e.manifest)"
        )
        return int(rows[0]["found"])

    def children(self, image_id: str) -> list[str]:
        return [
            row["id"] for row in self._database.query("SELECT id FROM images WHERE parent = ?", (image_id,))
        ]

    def references(self, image_id: str) -> list[Reference]:
        """All names that keep the image: its own, and those of indexes that it is in."""
        rows = self._database.query(
            "SELECT reference FROM tags WHERE image_id = ?1 UNION SELECT t.reference FROM tags t"
            " JOIN index_entries e ON e.index_digest = t.index_digest"
            " JOIN manifests m ON m.digest = e.manifest WHERE m.image_id = ?1 ORDER BY reference",
            (image_id,),
        )
        return [references.parse(row["reference"]) for row in rows]

    def own_references(self, image_id: str) -> list[Reference]:
        """Names under which this image is what is shown, and what runs when no platform is asked for."""
        rows = self._database.query(
            "SELECT reference FROM tags WHERE image_id = ? ORDER BY reference", (image_id,)
        )
        return [references.parse(row["reference"]) for row in rows]

    def _index_of(self, image_id: str) -> str:
        """The index that the image is shown for; of several, that of the name given last."""
        rows = self._database.query(
            "SELECT index_digest FROM tags WHERE image_id = ? AND index_digest != ''"
            " ORDER BY tagged_at DESC, reference LIMIT 1",
            (image_id,),
        )
        return rows[0]["index_digest"] if rows else ""

    def companions(self, image_id: str) -> list[str]:
        """Images of other platforms that are shown with this one."""
        rows = self._database.query(
            "SELECT DISTINCT m.image_id FROM tags t JOIN index_entries e ON e.index_digest = t.index_digest"
            " JOIN manifests m ON m.digest = e.manifest WHERE t.image_id = ?1 AND m.image_id != ?1"
            " ORDER BY m.image_id",
            (image_id,),
        )
        return [row["image_id"] for row in rows]

    def index(self, digest: str) -> StoredIndex | None:
        """The index that an image or a name carries; None for ""."""
        return self.indexes.get(digest) if digest else None

    def repository(self, name: Reference) -> list[tuple[Reference, str]]:
        """All (reference, image id) of one repository."""
        rows = self._database.query("SELECT reference, image_id FROM tags ORDER BY reference")
        parsed = ((references.parse(row["reference"]), row["image_id"]) for row in rows)
        return [(found, image_id) for found, image_id in parsed if found.name == name.name]

    def last_tagged(self, image_id: str) -> str:
        """RFC 3339, or ""."""
        rows = self._database.query(
            "SELECT max(tagged_at) AS latest FROM tags WHERE image_id = ?", (image_id,)
        )
        return rows[0]["latest"] or ""

    def lookup(self, name: Reference) -> str | None:
        """The image id a full name points at."""
        rows = self._database.query("SELECT image_id FROM tags WHERE reference = ?", (name.canonical,))
        return rows[0]["image_id"] if rows else None

    def _named(self, name: Reference) -> Image | None:
        rows = self._database.query(
            "SELECT image_id, index_digest FROM tags WHERE reference = ?", (name.canonical,)
        )
        if not rows:
            return None
        return replace(self.get(rows[0]["image_id"]), index=rows[0]["index_digest"])

    def stands_for(self, name: Reference, image_id: str, index: str) -> bool:
        """Whether the name stands for that index, or with "" for that image alone."""
        found = self._named(name)
        return found is not None and found.index == index and (bool(index) or found.id == image_id)

    def resolve(self, text: str, wanted: Platform | None = None) -> Image:
        """By id, name, the beginning of an id, or the digest of a manifest or an index, in Docker's order.

        wanted: of an index, the platform. Raises NotFound, InvalidParameter.
        """
        image = self._resolve(text)
        return image if wanted is None else self.of_platform(image, wanted, text)

    def of_platform(self, image: Image, wanted: Platform, name: str, *, strict: bool = False) -> Image:
        """The image itself, or of its index the one for that platform. strict: and not one that also runs
        there. Raises NotFound."""
        target = manifests.Platform(wanted.os, wanted.architecture, wanted.variant)
        stored = self.index(image.index)
        if stored is None:
            platforms.check(image.config, wanted, name)
            return image
        listed = stored.index.best(target)
        if listed is not None and (not strict or manifests.same(listed.platform, target)):
            if image_id := stored.image_of(listed):
                return replace(self.get(image_id), tags=image.tags, digests=image.digests)
            why = (
                f"its index lists it, but it was not pulled (hint: pull {name} with --platform "
                f"{listed.platform})"
            )
        else:
            offered = ", ".join(dict.fromkeys(map(str, stored.index.platforms))) or "none"
            why = f"there are {offered}"
        raise NotFound(
            f"image with reference {name} was found but does not provide the specified platform ({target}): "
            f"{why}"
        )

    def _resolve(self, text: str) -> Image:
        if match := _ID.fullmatch(text):
            if self._database.query("SELECT 1 FROM images WHERE id = ?", (f"sha256:{match[1]}",)):
                return self.get(f"sha256:{match[1]}")
            return self._by_prefix(match[1], text)
        prefix = _PREFIX.fullmatch(text)
        if prefix is not None and text.startswith("sha256:"):
            # "sha256:abc" reads as a repository "sha256" as well; nobody means that.
            return self._by_prefix(prefix[1], text)
        name = references.parse(text).with_default_tag()
        if found := self._named(name):
            return found
        if (
            name.tag
            and name.digest
            and (found := self._named(Reference(name.domain, name.path, "", name.digest)))
        ):
            return found
        if prefix is not None:
            return self._by_prefix(prefix[1], name.familiar)
        raise not_found(name.familiar)

    def _by_prefix(self, prefix: str, shown: str) -> Image:
        found = {image_id for image_id in self.ids() if image_id.startswith("sha256:" + prefix)}
        found = found or self._with_digest(f"sha256:{prefix}")
        if len(found) > 1:
            raise InvalidParameter(f'"{prefix}" is the beginning of {len(found)} image ids; give more digits')
        if not found:
            raise not_found(shown)
        return self.get(found.pop())

    def _with_digest(self, prefix: str) -> set[str]:
        """Images of manifests, and those shown for indexes, whose digests begin so. prefix: hexadecimal."""
        rows = self._database.query(
            "SELECT image_id FROM manifests WHERE digest GLOB ?1 UNION"
            " SELECT image_id FROM tags WHERE index_digest GLOB ?1",
            (f"{prefix}*",),
        )
        return {row["image_id"] for row in rows}

    # changing

    def add(self, config: bytes, *, top_layer: str, size_bytes: int, parent: str = "") -> str:
        """Stores an image; its id is the config's digest. Storing it again changes nothing."""
        image_id = self._content.add(config)
        with self._database.transaction() as cursor:
            cursor.execute(
                "INSERT OR IGNORE INTO images (id, top_layer, size_bytes, created_at, parent)"
                " VALUES (?, ?, ?, ?, ?)",
                (image_id, top_layer, size_bytes, clock.now(), parent),
            )
        return image_id

    def tag(self, name: Reference, image_id: str, index: NewIndex | str | None = None) -> None:
        """See tag_all."""
        self.tag_all((name,), image_id, index)

    def tag_all(self, names: Iterable[Reference], image_id: str, index: NewIndex | str | None = None) -> None:
        """On disk when it returns: it ends a pull, a load, a build, and the user is told so.

        index: that the names are to stand for, of which the image is one platform's: one to store, or the
        digest of one that is stored. Without names, what is new of one that has names already.
        Names that mean this image already are there; when they were given again may be lost with the power.
        """
        names = tuple(names)
        known = not isinstance(index, NewIndex) and all(
            (found := self._named(name)) is not None and (found.id, found.index) == (image_id, index or "")
            for name in names
        )
        with self._database.transaction(durable=not known) as cursor:
            if isinstance(index, NewIndex):
                self.indexes.add(cursor, index)
                index = index.raw.digest
            cursor.executemany(
                "INSERT INTO tags (reference, image_id, tagged_at, index_digest) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (reference) DO UPDATE SET image_id = excluded.image_id,"
                " tagged_at = excluded.tagged_at, index_digest = excluded.index_digest",
                [(name.canonical, image_id, clock.now(), index or "") for name in names],
            )
            self.indexes.settle(cursor)

    def untag(self, name: Reference) -> None:
        """On disk when it returns, like a name that was given."""
        with self._database.transaction(durable=True) as cursor:
            cursor.execute("DELETE FROM tags WHERE reference = ?", (name.canonical,))
            self.indexes.settle(cursor)

    def delete(self, image_id: str) -> None:
        """The row and every name but those of indexes of which another platform is here; then the config,
        which no row that comes back may miss."""
        with self._database.transaction(durable=True) as cursor:
            cursor.execute("DELETE FROM manifests WHERE image_id = ?", (image_id,))
            self.indexes.settle(cursor)
            cursor.execute("DELETE FROM tags WHERE image_id = ?", (image_id,))
            cursor.execute("DELETE FROM images WHERE id = ?", (image_id,))
        self._configs.pop(image_id, None)
        self._content.remove(image_id)
