"""Indexes: names that stand for one image per platform. Source: OCI image-spec, "Image Index".

    indexes           the document itself, by the digest that names carry (name@sha256:...)
    index_entries     the manifests it lists; an image belongs to it when one of its own manifests
                      (origins.py) is among them, however it came here
    index_documents   attestations of what is here, in the content store
    tags.index_digest the index that a name stands for; tags.image_id is what runs here best of what is here

Nothing else says which platforms are here, so there is nothing to get out of step. Where the last name of an
index goes, the index goes with it. docs/decisions/018-indexes.md
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from wherryd.content import digest as digests
from wherryd.content.store import ContentStore
from wherryd.errors import InvalidParameter
from wherryd.images import platforms
from wherryd.metadata.database import Database
from wherryd.registry import manifests
from wherryd.registry.manifests import OCI_INDEX, OCI_MANIFEST, Entry, Index, Platform, RawManifest


@dataclass(frozen=True)
class StoredIndex:
    """images: digest of a manifest -> the image it is of, for those that are here. documents: digests of
    attestations, and of what they are made of, that are here."""

    raw: RawManifest
    images: dict[str, str]
    documents: frozenset[str]

    @cached_property
    def index(self) -> Index:
        return parsed(self.raw)

    @property
    def digest(self) -> str:
        return self.raw.digest

    def image_of(self, entry: Entry) -> str:
        """The image's id, or "" when it is not here."""
        return self.images.get(entry.descriptor.digest, "") if entry.is_image else ""

    def is_here(self, entry: Entry) -> bool:
        return bool(self.image_of(entry)) or entry.descriptor.digest in self.documents

    @property
    def is_whole(self) -> bool:
        return all(map(self.is_here, self.index.entries))

    @property
    def here(self) -> list[Entry]:
        """Those of its images that are here, in its order."""
        return [entry for entry in self.index.images if self.image_of(entry)]

    def best(self, wanted: Platform) -> Entry | None:
        """Of what is here, what runs best on that platform."""
        return Index(tuple(self.here)).best(wanted)


@dataclass(frozen=True)
class NewIndex:
    """To be stored with the name that stands for it. documents: contents of attestations and their parts."""

    raw: RawManifest
    documents: Sequence[bytes] = field(default=())


def parsed(raw: RawManifest) -> Index:
    """Raises InvalidParameter when it is no index."""
    found = manifests.parse(raw)
    if not isinstance(found, Index):
        raise InvalidParameter(f"{raw.digest} is no index of images")
    return found


def rewritten(stored: StoredIndex, changed: Mapping[str, RawManifest]) -> RawManifest:
    """The index with other manifests. changed: by the digest of the one before. What was attested of one that
    changed is not true of the other, and is left out."""
    document = json.loads(stored.raw.body)
    document["manifests"] = [
        {**entry.document, **new.descriptor.document()} if new else entry.document
        for entry in stored.index.entries
        for new in (changed.get(entry.descriptor.digest),)
        if entry.attests not in changed
    ]
    kind = stored.raw.media_type
    if any(new.media_type == OCI_MANIFEST for new in changed.values()):
        kind = OCI_INDEX  # Docker's list is of Docker's manifests alone
    body = json.dumps({**document, "mediaType": kind}, separators=(",", ":")).encode()
    return RawManifest(body, kind, digests.of(body))


def host() -> Platform:
    mine = platforms.host()
    return Platform(mine.os, mine.architecture, mine.variant)


class IndexStore:
    """Reads by itself; writes only inside a transaction of the catalog's."""

    def __init__(self, database: Database, content: ContentStore) -> None:
        self._database = database
        self._content = content
        self._known: dict[str, RawManifest] = {}

    def get(self, digest: str) -> StoredIndex:
        """Of a digest that a name carries."""
        if digest not in self._known:
            (row,) = self._database.query("SELECT * FROM indexes WHERE digest = ?", (digest,))
            self._known[digest] = RawManifest(row["body"], row["media_type"], digest)
        return StoredIndex(self._known[digest], self._members(digest), self.documents_of(digest))

    def documents_of(self, digest: str) -> frozenset[str]:
        """Also of an index that is not stored, of which nothing is here."""
        rows = self._database.query("SELECT digest FROM index_documents WHERE index_digest = ?", (digest,))
        return frozenset(row["digest"] for row in rows)

    def _members(self, digest: str) -> dict[str, str]:
        rows = self._database.query(
            "SELECT e.manifest, m.image_id FROM index_entries e JOIN manifests m ON m.digest = e.manifest"
            " WHERE e.index_digest = ?",
            (digest,),
        )
        return {row["manifest"]: row["image_id"] for row in rows}

    def documents(self) -> set[str]:
        """What a collection must leave in the content store."""
        return {row["digest"] for row in self._database.query("SELECT digest FROM index_documents")}

    def forget_missing(self) -> None:
        """At start: an attestation that is not on the disk any more is as if it had not been pulled."""
        gone = [digest for digest in self.documents() if not self._content.has(digest)]
        with self._database.transaction() as cursor:
            cursor.executemany("DELETE FROM index_documents WHERE digest = ?", [(digest,) for digest in gone])

    # inside a transaction

    def add(self, cursor: sqlite3.Cursor, new: NewIndex) -> None:
        """Again with more documents, it has those too."""
        raw = new.raw
        cursor.execute(
            "INSERT OR IGNORE INTO indexes (digest, media_type, body) VALUES (?, ?, ?)",
            (raw.digest, raw.media_type, raw.body),
        )
        cursor.executemany(
            "INSERT OR IGNORE INTO index_entries (index_digest, manifest) VALUES (?, ?)",
            [(raw.digest, entry.descriptor.digest) for entry in parsed(raw).entries],
        )
        cursor.executemany(
            "INSERT OR IGNORE INTO index_documents (index_digest, digest) VALUES (?, ?)",
            [(raw.digest, self._content.add(data)) for data in new.documents],
        )

    def settle(self, cursor: sqlite3.Cursor) -> None:
        """After any change of what is here: names point at what runs here best, names of nothing go, and so
        do indexes without a name."""
        rows = cursor.execute("SELECT reference, image_id, index_digest FROM tags WHERE index_digest != ''")
        best: dict[str, str] = {}
        for reference, image_id, digest in rows.fetchall():
            if digest not in best:
                best[digest] = self._best(self.get(digest))
            if not best[digest]:
                cursor.execute("DELETE FROM tags WHERE reference = ?", (reference,))
            elif best[digest] != image_id:
                cursor.execute("UPDATE tags SET image_id = ? WHERE reference = ?", (best[digest], reference))
        cursor.execute("DELETE FROM indexes WHERE digest NOT IN (SELECT index_digest FROM tags)")

    def _best(self, stored: StoredIndex) -> str:
        here = stored.here
        best = stored.best(host()) or (here[0] if here else None)
        return stored.image_of(best) if best else ""
