"""The `.git` folder of ADD --keep-git-dir: one commit's objects, the ref that led to it, an index.

Made anew from the objects, and not copied: the same commit gives the same bytes, whatever pack the server
made of it, so that the layer and its cache key stay the same. Submodules stay without one.
Source: gitrepository-layout(5), gitformat-index(5).
"""

import hashlib
import io
import stat
import struct
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_SUBMODULE = 0o160000


@dataclass(frozen=True, slots=True)
class Fetched:
    """store: objects by hash. ref: full name, or b"" for a commit by its hash. tags: annotated ones on the
    way from the ref to the commit. The types are dulwich's, which differ between its versions."""

    store: Any
    commit: Any
    ref: bytes
    tags: tuple[Any, ...]


def peeled(store: Any, sha: bytes) -> tuple[tuple[Any, ...], Any]:
    """(annotated tags, what the last of them is of)."""
    tags = []
    found = store[sha]
    while found.type_name == b"tag":
        tags.append(found)
        found = store[found.object[1]]
    return tuple(tags), found


def write(archive: tarfile.TarFile, fetched: Fetched, url: str) -> None:
    """Below `.git/`. url: becomes the remote "origin"."""
    folder = _Folder(archive, fetched.commit.commit_time)
    for name in ("", "objects", "refs", "refs/heads", "refs/tags"):
        folder.directory(name)
    head = sha = fetched.commit.id
    if fetched.ref.startswith(b"refs/heads/"):
        head = b"ref: " + fetched.ref
    if fetched.ref.startswith((b"refs/heads/", b"refs/tags/")):
        folder.file(fetched.ref.decode(), (fetched.tags[0].id if fetched.tags else sha) + b"\n")
    folder.file("HEAD", head + b"\n")
    folder.file("config", _config(url))
    if fetched.commit.parents:
        folder.file("shallow", sha + b"\n")
    entries = list(_files(fetched.store, fetched.commit.tree, b""))
    folder.file("index", _index(entries))
    objects = {each.id: each for each in (fetched.commit, *fetched.tags)}
    for tree in _trees(fetched.store, fetched.commit.tree):
        objects[tree.id] = tree
    for _, mode, each in entries:
        if mode != _SUBMODULE:
            objects[each] = fetched.store[each]
    for name in sorted({each[:2].decode() for each in objects}):
        folder.directory(f"objects/{name}")
    for each, found in sorted(objects.items()):
        raw = found.as_raw_string()
        data = b"%s %d\0%s" % (found.type_name, len(raw), raw)
        folder.file(f"objects/{each[:2].decode()}/{each[2:].decode()}", zlib.compress(data, 1), mode=0o444)


def _config(url: str) -> bytes:
    quoted = url.replace("\\", "\\\\").replace('"', '\\"')
    return (
        "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n"
        f'[remote "origin"]\n\turl = "{quoted}"\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n'
    ).encode()


class _Folder:
    def __init__(self, archive: tarfile.TarFile, seconds: int) -> None:
        self._archive = archive
        self._seconds = seconds

    def directory(self, name: str) -> None:
        info = self._info(name, 0o755)
        info.type = tarfile.DIRTYPE
        self._archive.addfile(info)

    def file(self, name: str, data: bytes, mode: int = 0o644) -> None:
        info = self._info(name, mode)
        info.size = len(data)
        self._archive.addfile(info, io.BytesIO(data))

    def _info(self, name: str, mode: int) -> tarfile.TarInfo:
        info = tarfile.TarInfo(f".git/{name}".rstrip("/"))
        info.mode, info.mtime = mode, self._seconds
        return info


def _trees(store: Any, tree: bytes) -> Iterator[Any]:
    found = store[tree]
    yield found
    for entry in found.iteritems():
        if stat.S_ISDIR(entry.mode):
            yield from _trees(store, entry.sha)


def _files(store: Any, tree: bytes, prefix: bytes) -> Iterator[tuple[bytes, int, bytes]]:
    """(path, mode, hash) of all that is no folder."""
    for entry in store[tree].iteritems():
        path = prefix + entry.path
        if stat.S_ISDIR(entry.mode):
            yield from _files(store, entry.sha, path + b"/")
        else:
            yield path, entry.mode, entry.sha


def _index(entries: list[tuple[bytes, int, bytes]]) -> bytes:
    """Version 2, without stat data: git looks at the files once and fills it in."""
    body = struct.pack(">4sLL", b"DIRC", 2, len(entries))
    for path, mode, sha in sorted(entries):
        entry = struct.pack(
            ">10L20sH", *(0,) * 6, mode, 0, 0, 0, bytes.fromhex(sha.decode()), min(len(path), 0xFFF)
        )
        entry += path
        body += entry + bytes(8 - len(entry) % 8)
    # The format's checksum, and nothing that has to be safe.
    return body + hashlib.sha1(body, usedforsecurity=False).digest()
