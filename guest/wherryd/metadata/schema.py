"""The tables, as a list of migrations; the number of a migration is its place in the list.

Rules for editing: append, never change; one tuple of statements per migration; say in a comment
which package owns the tables. Timestamps are RFC 3339 text in UTC with nanoseconds, as the Engine
API prints them. JSON columns hold whole documents that are never queried by field.
"""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    # 1. images: configs by id, names that point at them.
    (
        """
        CREATE TABLE images (
            id          TEXT PRIMARY KEY,   -- sha256:<hex> of the config blob
            top_layer   TEXT NOT NULL,      -- chain id of the uppermost layer, '' for an empty image
            size_bytes  INTEGER NOT NULL,   -- unpacked size of all layers
            created_at  TEXT NOT NULL,      -- when this engine first stored it
            parent      TEXT NOT NULL       -- image id of the parent known to this engine, or ''
        )
        """,
        """
        CREATE TABLE tags (
            reference   TEXT PRIMARY KEY,   -- normalised: docker.io/library/mysql:demo
            image_id    TEXT NOT NULL REFERENCES images(id),
            tagged_at   TEXT NOT NULL
        )
        """,
        """
        CREATE TABLE layers (
            chain_id    TEXT PRIMARY KEY,   -- OCI image-spec, "Layer ChainID"
            parent      TEXT NOT NULL,      -- chain id below, or ''
            diff_id     TEXT NOT NULL,      -- digest of the uncompressed tar
            blob        TEXT NOT NULL,      -- digest of the stored (compressed) blob, or '' when not kept
            size_bytes  INTEGER NOT NULL    -- unpacked bytes this layer adds
        )
        """,
    ),
    # 2. containers: one JSON record each, keyed by id, unique by name.
    (
        """
        CREATE TABLE containers (
            id          TEXT PRIMARY KEY,   -- 64 hex digits
            name        TEXT NOT NULL UNIQUE,
            image_id    TEXT NOT NULL,
            record      TEXT NOT NULL       -- JSON, see containers/record.py
        )
        """,
    ),
    # 3. networks: which container holds which address and which host ports on which network.
    (
        """
        CREATE TABLE endpoints (
            container_id TEXT NOT NULL,
            network      TEXT NOT NULL,
            record       TEXT NOT NULL,     -- JSON, see networks/endpoint.py
            PRIMARY KEY (container_id, network)
        )
        """,
    ),
    # 4. networks: the networks themselves; until users can make some, the three predefined ones.
    (
        """
        CREATE TABLE networks (
            id          TEXT PRIMARY KEY,   -- 64 hex digits
            name        TEXT NOT NULL UNIQUE,
            driver      TEXT NOT NULL,      -- bridge, host, null
            created_at  TEXT NOT NULL
        )
        """,
    ),
    # 5. images: how to make a layer's archive again from its directory, see images/unpack/recipe.py.
    (
        # Digest of the recipe in the content store.
        "ALTER TABLE layers ADD COLUMN recipe TEXT NOT NULL DEFAULT ''",
        # Length of the uncompressed archive.
        "ALTER TABLE layers ADD COLUMN tar_bytes INTEGER NOT NULL DEFAULT 0",
    ),
    # 6. networks: a container's namespace beside its place on each of several networks, see
    # networks/endpoint.py; and networks that users make, see networks/catalog.py.
    (
        """
        CREATE TABLE sandboxes (
            container_id TEXT PRIMARY KEY,
            record       TEXT NOT NULL      -- JSON, see networks/endpoint.py
        )
        """,
        "INSERT INTO sandboxes (container_id, record) SELECT container_id, record FROM endpoints",
        "DELETE FROM endpoints WHERE network = ''",
        # JSON of NetworkSettings; '' for a predefined network.
        "ALTER TABLE networks ADD COLUMN record TEXT NOT NULL DEFAULT ''",
    ),
    # 7. images: what registries hold of our layers and images, see images/origins.py.
    (
        """
        CREATE TABLE layer_blobs (
            diff_id     TEXT NOT NULL,      -- digest of the uncompressed tar
            digest      TEXT NOT NULL,      -- digest of the blob in the registry
            size_bytes  INTEGER NOT NULL,   -- length of the blob
            media_type  TEXT NOT NULL,
            domain      TEXT NOT NULL,      -- registry, as in a normalised reference
            path        TEXT NOT NULL,      -- repository
            seen_at     TEXT NOT NULL,
            PRIMARY KEY (diff_id, digest, domain, path)
        )
        """,
        """
        CREATE TABLE manifests (
            image_id    TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
            digest      TEXT NOT NULL,
            media_type  TEXT NOT NULL,
            body        BLOB NOT NULL,      -- the bytes the digest is of
            seen_at     TEXT NOT NULL,
            PRIMARY KEY (image_id, digest)
        )
        """,
    ),
    # 8. builder: which image a step made, by the digest of all it depends on; see builder/cache.py.
    (
        """
        CREATE TABLE build_cache (
            key         TEXT PRIMARY KEY,   -- sha256:<hex>
            image_id    TEXT NOT NULL,
            used_at     TEXT NOT NULL
        )
        """,
    ),
    # 9. images: what an interrupted pull needs when it is tried again, see images/leases.py.
    (
        """
        CREATE TABLE leases (
            name        TEXT PRIMARY KEY,   -- of the work, the same when it is tried again
            expires_at  REAL NOT NULL       -- seconds since the epoch
        )
        """,
        """
        CREATE TABLE lease_items (
            lease       TEXT NOT NULL REFERENCES leases(name) ON DELETE CASCADE,
            kind        TEXT NOT NULL,      -- "layer": a chain id; "partial": the digest of a blob
            item        TEXT NOT NULL,
            PRIMARY KEY (lease, kind, item)
        )
        """,
    ),
    # 10. images: indexes, and the names that stand for one; see images/indexes.py.
    (
        """
        CREATE TABLE indexes (
            digest      TEXT PRIMARY KEY,
            media_type  TEXT NOT NULL,
            body        BLOB NOT NULL       -- the bytes the digest is of
        )
        """,
        """
        CREATE TABLE index_entries (
            index_digest TEXT NOT NULL REFERENCES indexes(digest) ON DELETE CASCADE,
            manifest     TEXT NOT NULL,     -- digest; the image is where manifests.digest is the same
            PRIMARY KEY (index_digest, manifest)
        )
        """,
        "CREATE INDEX index_entries_by_manifest ON index_entries (manifest)",
        "CREATE INDEX manifests_by_digest ON manifests (digest)",
        """
        CREATE TABLE index_documents (
            index_digest TEXT NOT NULL REFERENCES indexes(digest) ON DELETE CASCADE,
            digest       TEXT NOT NULL,     -- of a blob in the content store: an attestation or a part of one
            PRIMARY KEY (index_digest, digest)
        )
        """,
        # The index that the name stands for, or ''; image_id is what runs here best of what is here of it.
        "ALTER TABLE tags ADD COLUMN index_digest TEXT NOT NULL DEFAULT ''",
    ),
)
