"""Sends a build context by its contents: a list first, and of the files only those that the engine lacks.

The calls are in wherrywire.contextsync.
"""

import hashlib
import json
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from wherry.engine.buildcontext import BuildContext, ChunkReader, Found, permissions, target_of
from wherry.engine.client import EngineClient, Readable, segment
from wherry.engine.statcache import StatCache
from wherry.errors import EngineProblem, UsageProblem
from wherrywire.contextsync import Entry, Kind, Needs

_CHUNK_BYTES = 256 * 1024
_LINES = "application/x-ndjson"
_BYTES = "application/octet-stream"


def needs(
    client: EngineClient,
    dockerfile: bytes,
    target: str | None,
    build_args: Mapping[str, str | None],
    contexts: Mapping[str, str],
) -> Needs | None:
    """What a build can need of its context; None when the engine does not know such questions.
    contexts: named ones.

    Raises EngineProblem for what is wrong with the Dockerfile.
    """
    params = {"target": target, "buildargs": json.dumps(build_args)}
    if contexts:
        params["contexts"] = json.dumps(dict.fromkeys(contexts, ""))
    try:
        answer = client.call(
            "POST", "/build/contexts/needs", params, upload=ChunkReader(iter((dockerfile,)))
        ).json()
    except EngineProblem as exc:
        if exc.status in (404, 405):
            return None
        raise
    return Needs(str(path) for path in answer["Paths"])


@dataclass(frozen=True, slots=True)
class Announced:
    """A context that the engine knows of. missing: what it lacks, in the order it wants it.
    total_bytes: of all files."""

    token: str
    missing: tuple[Entry, ...]
    total_bytes: int
    context: BuildContext

    @property
    def missing_bytes(self) -> int:
        return sum(entry.size for entry in self.missing)

    def contents(self) -> Iterator[bytes]:
        """Of the missing files. Raises UsageProblem for one that changed since it was looked at."""
        files = {found.name: found for found in self.context.entries}
        for entry in self.missing:
            if entry.path in self.context.extra:
                yield self.context.extra[entry.path]
            else:
                yield from _content(files[entry.path], entry.size)


def announce(client: EngineClient, context: BuildContext, cache: StatCache) -> Announced:
    """Raises EngineProblem, UsageProblem."""
    told = list(entries(context, cache))
    answer = client.call(
        "POST",
        "/build/contexts",
        upload=ChunkReader(entry.line() for entry in told),
        headers={"Content-Type": _LINES},
    ).json()
    by_digest = {entry.value: entry for entry in told if entry.kind is Kind.FILE}
    missing = tuple(by_digest[digest] for digest in answer["Missing"])
    total = sum(entry.size for entry in told)
    return Announced(str(answer["Token"]), missing, total, context)


def send(client: EngineClient, announced: Announced, source: Readable) -> None:
    """source: `contents`, perhaps behind a progress bar."""
    path = f"/build/contexts/{segment(announced.token)}"
    client.call("PUT", path, upload=source, headers={"Content-Type": _BYTES})


def entries(context: BuildContext, cache: StatCache) -> Iterator[Entry]:
    """What is told of a context, in its order. Raises UsageProblem."""
    for name, data in context.extra.items():
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        yield Entry(kind=Kind.FILE, path=name, mode=0o600, mtime_ns=0, size=len(data), value=digest)
    found = [each for each in context.entries if each.name not in context.extra]
    firsts: dict[tuple[int, int], str] = {}
    links: dict[str, str] = {}
    for each in found:
        status = each.status
        if stat.S_ISREG(status.st_mode) and status.st_nlink > 1 and status.st_ino:
            first = firsts.setdefault((status.st_dev, status.st_ino), each.name)
            if first != each.name:
                links[each.name] = first
    files = [each for each in found if stat.S_ISREG(each.status.st_mode) and each.name not in links]
    digests = cache.digests(files)
    for each in found:
        if (entry := _entry(each, links.get(each.name), digests)) is not None:
            yield entry


def _entry(found: Found, first: str | None, digests: Mapping[str, str]) -> Entry | None:
    """None for a socket or a device, which a context has not."""
    mode = found.status.st_mode
    kind, size, value = Kind.FILE, 0, ""
    if first is not None:
        kind, value = Kind.HARD_LINK, first
    elif stat.S_ISREG(mode):
        size, value = found.status.st_size, digests[found.name]
    elif stat.S_ISDIR(mode):
        kind = Kind.DIRECTORY
    elif stat.S_ISLNK(mode):
        kind, value = Kind.SYMLINK, target_of(found.path)
    elif stat.S_ISFIFO(mode):
        kind = Kind.FIFO
    else:
        return None
    # Whole seconds, as in an archive: the same folder makes the same image however it was sent.
    seconds = int(found.status.st_mtime)
    return Entry(
        kind=kind,
        path=found.name,
        mode=0o777 if kind is Kind.SYMLINK else permissions(mode),
        mtime_ns=seconds * 1_000_000_000,
        size=size,
        value=value,
    )


def _content(found: Found, size: int) -> Iterator[bytes]:
    try:
        with found.path.open("rb") as file:
            left = size
            while left and (data := file.read(min(left, _CHUNK_BYTES))):
                left -= len(data)
                yield data
    except OSError as exc:
        raise UsageProblem(f"unable to send context: cannot read {found.path}: {exc.strerror}") from exc
    if left:
        raise UsageProblem(f"{found.path} became shorter while it was sent; build again")
