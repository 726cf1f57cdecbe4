"""The process that fetches: objects into a bare repository, a tree of them as a tar stream on stdout.

Nothing is checked out here: names from a repository meet a file system only in the confined unpacker.
Errors are one JSON object on stderr: {"fault": "user" or "engine", "error": text}.
"""

import json
import posixpath
import stat
import sys
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from wherryd.builder.git import metadata

#: Submodules in submodules.
_MAX_DEPTH = 8
_DIRECTORY, _FILE, _LINK, _SUBMODULE = 0o040000, 0o100000, 0o120000, 0o160000


class GitError(Exception):
    """What is wrong with the request or the repository."""


def main() -> None:
    order = json.loads(sys.argv[1])
    try:
        with tarfile.open(fileobj=sys.stdout.buffer, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            found = _Export(Path(order["work"]), archive).repository(
                order["url"], order["ref"], order["folder"], order["commit"], prefix="", depth=0
            )
            if order["keep_git_dir"]:
                metadata.write(archive, found, order["url"])
    except GitError as exc:
        _fail("user", str(exc))
    except Exception as exc:
        _fail("user", f"{order['url']}: {exc or type(exc).__name__}")


def _fail(fault: str, text: str) -> None:
    sys.stderr.write(json.dumps({"fault": fault, "error": text}))
    sys.stderr.flush()
    sys.exit(1)


class _Export:
    def __init__(self, work: Path, archive: tarfile.TarFile) -> None:
        self._work = work
        self._archive = archive
        self._number = 0

    def repository(
        self, url: str, ref: str, folder: str, commit: str, *, prefix: str, depth: int
    ) -> metadata.Fetched:
        """Writes the tree of one repository, and of its submodules, below prefix."""
        if not url.startswith(("http://", "https://", "git://")):
            raise GitError(f"{url}: only http, https and git are available")
        self._number += 1
        fetched = _fetched(url, ref, self._work / str(self._number))
        store, tree, found = fetched.store, fetched.commit.tree, fetched.commit.id.decode()
        if commit and not found.startswith(commit):
            raise GitError(f"{url}: {ref or 'HEAD'} is commit {found}, expected {commit}")
        modules = _submodules(store, tree)
        for part in [part for part in folder.split("/") if part]:
            mode, sha = _entries(store, tree).get(part, (0, b""))
            if stat.S_IFMT(mode) != _DIRECTORY:
                raise GitError(f"{url}: there is no folder {folder} in {ref or 'HEAD'}")
            tree = sha
        self._tree(store, tree, prefix, folder, modules, fetched.commit.commit_time, url, depth)
        return fetched

    def _tree(
        self, store: Any, tree: bytes, prefix: str, place: str, modules: dict[str, str], seconds: int,
        url: str, depth: int,
    ) -> None:  # fmt: skip
        """place: of the tree in its repository, as .gitmodules names it."""
        for name, (mode, sha) in _entries(store, tree).items():
            path, inside = posixpath.join(prefix, name), posixpath.join(place, name)
            kind = stat.S_IFMT(mode)
            info = tarfile.TarInfo(path)
            info.mtime = seconds
            if kind == _DIRECTORY:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                self._archive.addfile(info)
                self._tree(store, sha, path, inside, modules, seconds, url, depth)
            elif kind == _SUBMODULE:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                self._archive.addfile(info)
                if inside not in modules:
                    continue  # git leaves an empty folder too
                if depth == _MAX_DEPTH:
                    raise GitError(f"{url}: more than {_MAX_DEPTH} levels of submodules")
                self.repository(
                    _joined(url, modules[inside]), sha.decode(), "", "", prefix=path, depth=depth + 1
                )
            elif kind == _LINK:
                info.type, info.linkname = tarfile.SYMTYPE, _text(store[sha].as_raw_string())
                self._archive.addfile(info)
            elif kind == _FILE:
                data = store[sha].as_raw_string()
                info.size, info.mode = len(data), 0o755 if mode & 0o100 else 0o644
                self._archive.addfile(info, BytesIO(data))
            else:
                raise GitError(f"{url}: {inside} has the unknown mode {mode:o}")


def _entries(store: Any, tree: bytes) -> dict[str, tuple[int, bytes]]:
    return {_text(entry.path): (entry.mode, entry.sha) for entry in store[tree].iteritems()}


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _joined(url: str, module: str) -> str:
    """A submodule's address; a relative one is relative to the repository as if that were a folder."""
    if not module.startswith(("./", "../")):
        return module
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=posixpath.normpath(posixpath.join(parts.path, module))))


def _fetched(url: str, ref: str, folder: Path) -> metadata.Fetched:
    from dulwich.client import get_transport_and_path
    from dulwich.objects import Commit
    from dulwich.repo import Repo

    folder.mkdir(parents=True)
    # Their types changed between the library's versions; Debian has an older one than PyPI.
    repository: Any = Repo.init_bare(str(folder))
    client: Any
    client, path = get_transport_and_path(url)
    wanted: list[tuple[bytes, bytes]] = []

    def choose(refs: dict[bytes, bytes], depth: int | None = None) -> list[bytes]:  # noqa: ARG001
        wanted[:] = [_chosen(refs, ref, url)]
        return [wanted[0][1]]

    client.fetch(path, repository, determine_wants=choose, depth=1)
    name, sha = wanted[0]
    tags, found = metadata.peeled(repository.object_store, sha)
    if not isinstance(found, Commit):
        raise GitError(f"{url}: {ref} is no commit")
    return metadata.Fetched(repository.object_store, found, name, tags)


def _chosen(refs: dict[bytes, bytes], ref: str, url: str) -> tuple[bytes, bytes]:
    """(the ref's full name or b"", the hash it has)."""
    for name in _names(ref):
        if (sha := refs.get(name)) is not None:
            return name, sha
    # Servers that people use give any commit that a branch or tag reaches.
    if len(ref) == 40 and set(ref) <= set("0123456789abcdef"):
        return b"", ref.encode()
    short = [sha for sha in refs.values() if sha and len(ref) >= 7 and sha.decode().startswith(ref)]
    if short:
        return b"", short[0]
    raise GitError(f'{url}: there is no branch, tag or commit "{ref or "HEAD"}"')


def _names(ref: str) -> list[bytes]:
    """The names that a ref may have, in git's order."""
    return [f"{start}{ref}".encode() for start in ("", "refs/heads/", "refs/tags/")] if ref else [b"HEAD"]


def _submodules(store: Any, tree: bytes) -> dict[str, str]:
    """Path -> address, of .gitmodules."""
    mode, sha = _entries(store, tree).get(".gitmodules", (0, b""))
    if stat.S_IFMT(mode) != _FILE:
        return {}
    from dulwich.config import ConfigFile, parse_submodules

    config = ConfigFile.from_file(BytesIO(store[sha].as_raw_string()))
    return {_text(path): _text(url) for path, url, _ in parse_submodules(config)}
