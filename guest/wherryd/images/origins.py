"""What registries hold of our layers and images.

Layers are kept without the compressed archives they came in (docs/decisions/005), and compressing again
gives other bytes. So it is remembered under which digest which repository has a layer, and the manifest an
image came with: a push to where those blobs are sends nothing, and the manifest keeps its digest.

What is remembered may be out of date. It is a hint where to ask, and never taken for granted.
"""

from wherryd import clock
from wherryd.metadata.database import Database
from wherryd.registry.manifests import Descriptor, RawManifest


class Origins:
    def __init__(self, database: Database) -> None:
        self._database = database

    def saw_layer(self, diff_id: str, blob: Descriptor, domain: str, path: str) -> None:
        with self._database.transaction() as cursor:
            cursor.execute(
                "INSERT INTO layer_blobs (diff_id, digest, size_bytes, media_type, domain, path, seen_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (diff_id, digest, domain, path)"
                " DO UPDATE SET seen_at = excluded.seen_at",
                (diff_id, blob.digest, blob.size, blob.media_type, domain, path, clock.now()),
            )

    def blobs(self, diff_id: str) -> list[Descriptor]:
        """All known archives of a layer, the one seen last first."""
        rows = self._database.query(
            "SELECT digest, size_bytes, media_type, max(seen_at) AS latest FROM layer_blobs"
            " WHERE diff_id = ? GROUP BY digest ORDER BY latest DESC, digest",
            (diff_id,),
        )
        return [Descriptor(row["media_type"], row["digest"], row["size_bytes"]) for row in rows]

    def repositories(self, digest: str, domain: str) -> list[str]:
        """Paths on that registry where the blob was seen, the latest first."""
        rows = self._database.query(
            "SELECT DISTINCT path FROM layer_blobs WHERE digest = ? AND domain = ? ORDER BY seen_at DESC",
            (digest, domain),
        )
        return [row["path"] for row in rows]

    def places(self, digest: str) -> list[tuple[str, str]]:
        """(registry, path) where the blob was seen, the latest first."""
        rows = self._database.query(
            "SELECT domain, path FROM layer_blobs WHERE digest = ? ORDER BY seen_at DESC", (digest,)
        )
        return [(row["domain"], row["path"]) for row in rows]

    def saw_manifest(self, image_id: str, manifest: RawManifest) -> None:
        """Of an image that is stored."""
        with self._database.transaction() as cursor:
            cursor.execute(
                "INSERT INTO manifests (image_id, digest, media_type, body, seen_at) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (image_id, digest) DO UPDATE SET seen_at = excluded.seen_at",
                (image_id, manifest.digest, manifest.media_type, manifest.body, clock.now()),
            )

    def manifests(self, image_id: str) -> list[RawManifest]:
        """The one seen last first."""
        rows = self._database.query(
            "SELECT digest, media_type, body FROM manifests WHERE image_id = ?"
            " ORDER BY seen_at DESC, rowid DESC",
            (image_id,),
        )
        return [RawManifest(row["body"], row["media_type"], row["digest"]) for row in rows]

    def forget_orphans(self) -> None:
        """At start only: hints about layers that are no longer here."""
        with self._database.transaction() as cursor:
            cursor.execute("DELETE FROM layer_blobs WHERE diff_id NOT IN (SELECT diff_id FROM layers)")
