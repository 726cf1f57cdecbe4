"""Images and their names: rows in the database, configs in the content store."""

import json
import re
from collections.abc import Mapping
from typing import Any

from wherryd import clock
from wherryd.content.store import ContentStore
from wherryd.errors import InvalidParameter, NotFound
from wherryd.images import reference as references
from wherryd.images.image import Image
from wherryd.images.reference import Reference
from wherryd.metadata.database import Database

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

    # reading

    def get(self, image_id: str) -> Image:
        """Raises NotFound."""
        rows = self._database.query("SELECT * FROM images WHERE id = ?", (image_id,))
        if not rows:
            raise not_found(image_id)
        names = self.references(image_id)
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

    def children(self, image_id: str) -> list[str]:
        return [
            row["id"] for row in self._database.query("SELECT id FROM images WHERE parent = ?", (image_id,))
        ]

    def references(self, image_id: str) -> list[Reference]:
        rows = self._database.query(
            "SELECT reference FROM tags WHERE image_id = ? ORDER BY reference", (image_id,)
        )
        return [references.parse(row["reference"]) for row in rows]

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

    def resolve(self, text: str) -> Image:
        """By id, name, or the beginning of an id, in Docker's order. Raises NotFound, InvalidParameter."""
        if match := _ID.fullmatch(text):
            if f"sha256:{match[1]}" in self.ids():
                return self.get(f"sha256:{match[1]}")
            raise not_found(text)
        prefix = _PREFIX.fullmatch(text)
        if prefix is not None and text.startswith("sha256:"):
            # "sha256:abc" reads as a repository "sha256" as well; nobody means that.
            return self._by_prefix(prefix[1], text)
        name = references.parse(text).with_default_tag()
        if found := self.lookup(name):
            return self.get(found)
        if (
            name.tag
            and name.digest
            and (found := self.lookup(Reference(name.domain, name.path, "", name.digest)))
        ):
            return self.get(found)
        if prefix is not None:
            return self._by_prefix(prefix[1], name.familiar)
        raise not_found(name.familiar)

    def _by_prefix(self, prefix: str, shown: str) -> Image:
        found = [image_id for image_id in self.ids() if image_id.startswith("sha256:" + prefix)]
        if len(found) > 1:
            raise InvalidParameter(f'"{prefix}" is the beginning of {len(found)} image ids; give more digits')
        if not found:
            raise not_found(shown)
        return self.get(found[0])

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

    def tag(self, name: Reference, image_id: str) -> None:
        """On disk when it returns: it ends a pull, a load, a build, and the user is told so."""
        with self._database.transaction(durable=True) as cursor:
            cursor.execute(
                "INSERT INTO tags (reference, image_id, tagged_at) VALUES (?, ?, ?)"
                " ON CONFLICT (reference) DO UPDATE SET image_id = excluded.image_id,"
                " tagged_at = excluded.tagged_at",
                (name.canonical, image_id, clock.now()),
            )

    def untag(self, name: Reference) -> None:
        """On disk when it returns, like a name that was given."""
        with self._database.transaction(durable=True) as cursor:
            cursor.execute("DELETE FROM tags WHERE reference = ?", (name.canonical,))

    def delete(self, image_id: str) -> None:
        """The row and every name; then the config, which no row that comes back may miss."""
        with self._database.transaction(durable=True) as cursor:
            cursor.execute("DELETE FROM tags WHERE image_id = ?", (image_id,))
            cursor.execute("DELETE FROM images WHERE id = ?", (image_id,))
        self._configs.pop(image_id, None)
        self._content.remove(image_id)
