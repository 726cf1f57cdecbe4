"""Sends a build context by its contents: a list first, and of the files only those that the engine lacks; or,
when the engine knows the list of the last build, what is different.

The calls are in wherrywire.contextsync.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from wherry.engine.buildcontext import ChunkReader
from wherry.engine.client import EngineClient, Readable, segment
from wherry.engine.contextlist import ContextList, files_by_digest
from wherry.engine.statcache import Last
from wherry.errors import EngineProblem
from wherrywire.contextsync import Entry, Needs, difference, digest_of

_LINES = "application/x-ndjson"
_BYTES = "application/octet-stream"
#: More than this is sent by itself, with a bar that shows how it goes.
MAX_CHANGE_BYTES = 1024 * 1024


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
    """A context that the engine knows of. missing: what it lacks, in the order it wants it."""

    token: str
    missing: tuple[Entry, ...]
    told: ContextList

    @property
    def missing_bytes(self) -> int:
        return sum(entry.size for entry in self.missing)

    def contents(self) -> Iterator[bytes]:
        """Of the missing files. Raises UsageProblem for one that changed since it was looked at."""
        return self.told.contents(self.missing)


def announce(client: EngineClient, told: ContextList) -> Announced:
    """Raises EngineProblem, UsageProblem."""
    answer = client.call(
        "POST",
        "/build/contexts",
        upload=ChunkReader(iter((b"".join(told.lines),))),
        headers={"Content-Type": _LINES},
    ).json()
    missing: tuple[Entry, ...] = ()
    if answer["Missing"]:
        by_digest = files_by_digest(told.lines)
        missing = tuple(by_digest[digest] for digest in answer["Missing"])
    return Announced(str(answer["Token"]), missing, told)


def send(client: EngineClient, announced: Announced, source: Readable) -> None:
    """source: `contents`, perhaps behind a progress bar."""
    path = f"/build/contexts/{segment(announced.token)}"
    client.call("PUT", path, upload=source, headers={"Content-Type": _BYTES})


@dataclass(frozen=True, slots=True)
class Change:
    """What a build needs besides a list that the engine knows. base: the digest of an earlier list, None if
    it is this very one. body: what has changed since."""

    base: str | None
    body: bytes
    content_bytes: int


def change(told: ContextList, last: Last) -> Change | None:
    """None when too much has changed. Raises UsageProblem."""
    before = last.lines
    if before == told.lines:
        return Change(None, b"", 0)
    lines = difference(before, told.lines)
    if lines is None or sum(map(len, lines)) > MAX_CHANGE_BYTES:
        return None
    files = [each for each in files_by_digest(lines).values() if each.size]
    size = sum(entry.size for entry in files)
    if size > MAX_CHANGE_BYTES:
        return None
    return Change(digest_of(before), b"".join([*lines, b"\n", *told.contents(files)]), size)
