"""Names and references, in one SQLite file. Bytes are in `content`, file systems in `snapshots`."""
