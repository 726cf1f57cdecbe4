"""How the engine gets what `wherry build` is given: by contents where it can, as an archive, or by itself."""

import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import IO, Any, TextIO

import click

from wherry.cli import progress
from wherry.cli.output import units
from wherry.engine import buildcontext, contextlist, contextsync
from wherry.engine.buildcontext import BuildContext, ChunkReader
from wherry.engine.client import EngineClient, Readable
from wherry.engine.statcache import Last, StatCache
from wherry.errors import UsageProblem
from wherry.paths import paths
from wherrywire.contextsync import Needs, needs_digest

_HEAD_BYTES = 512
_CHUNK_BYTES = 256 * 1024
_URLS = ("http://", "https://", "git://", "git@", "github.com/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """How the engine comes to the context. dockerfile: its name in it. context, needs, base: as
    wherrywire.contextsync has them. quick: whether all that was sent is what goes with the build, which is
    404 when that is not enough. kept: to be called when the build has begun."""

    dockerfile: str | None
    upload: Readable | None = None
    remote: str | None = None
    context: str | None = None
    needs: str | None = None
    base: str | None = None
    quick: bool = False
    kept: Callable[[], None] = lambda: None

    @property
    def body(self) -> Readable:
        """Of POST /build."""
        return self.upload or ChunkReader(iter(()))


def send(
    called: EngineClient,
    source: str,
    given: dict[str, Any],
    build_args: dict[str, str | None],
    out: TextIO | None,
    stack: ExitStack,
    *,
    quick: bool,
) -> Sent:
    """source: a folder, a URL, or "-" for standard input. given: the verb's options. stack: closed when the
    build has ended. quick: what the engine knows since the last build may be enough.

    Raises EngineProblem, UsageProblem."""
    dockerfile = given["dockerfile"]
    if source == "-":
        if dockerfile == "-":
            raise UsageProblem("invalid argument: can't use stdin for both build context and dockerfile")
        return Sent(upload=_from_stdin(), dockerfile=dockerfile)
    if source.startswith(_URLS):
        return Sent(remote=source, dockerfile=dockerfile)
    folder = Path(source)
    if not folder.is_dir():
        raise UsageProblem(
            f'unable to prepare context: path "{source}" not found or no folder; name a folder'
        )
    if dockerfile == "-":
        chosen: Path | bytes | None = _dockerfile_from_stdin(given)
    else:
        chosen = Path(dockerfile) if dockerfile else None
    sending = _Sending(called, StatCache(paths().contexts, folder, dockerfile or ""), given, build_args, out)
    if given["compress"]:
        context = buildcontext.scan(folder, chosen)
        return Sent(upload=_upload(context, out, stack, compress=True), dockerfile=context.dockerfile)
    if quick and not given["pull"] and (found := sending.quickly(folder, chosen)) is not None:
        return found
    context = buildcontext.scan(folder, chosen, sending.ask)
    if sending.synced:
        return Sent(context=sending.sync(context), dockerfile=context.dockerfile)
    return Sent(upload=_upload(context, out, stack), dockerfile=context.dockerfile)


def _dockerfile_from_stdin(given: dict[str, Any]) -> bytes:
    """Read once, however often the context is sent."""
    if "stdin" not in given:
        given["stdin"] = sys.stdin.buffer.read()
    data: bytes = given["stdin"]
    return data


def named(called: EngineClient, texts: Mapping[str, str], out: TextIO | None) -> dict[str, str]:
    """Named contexts as the engine wants them; folders are there when this returns. texts: by name.

    Raises EngineProblem, UsageProblem."""
    return {name: _named(called, name, text, out) for name, text in texts.items()}


def _named(called: EngineClient, name: str, text: str, out: TextIO | None) -> str:
    if text.startswith(("docker-image://", *_URLS)):
        return f"https://{text}" if text.startswith("github.com/") else text
    folder = Path(text)
    if not folder.is_dir():
        raise UsageProblem(
            f'build context {name}: "{text}" is no folder (hint: an image is docker-image://NAME, a git '
            "repository or an archive a URL)"
        )
    sending = _Sending(called, StatCache(paths().contexts, folder), {}, {}, out)
    return f"context:{sending.sync(buildcontext.whole(folder))}"


class _Sending:
    """One folder on its way to an engine that knows contents by their digests."""

    def __init__(
        self,
        called: EngineClient,
        cache: StatCache,
        given: Mapping[str, Any],
        build_args: Mapping[str, str | None],
        out: TextIO | None,
    ) -> None:
        self._called = called
        self._cache = cache
        self._given = given
        self._build_args = build_args
        self._out = out
        self._last = cache.load()
        self._asked, self._paths = "", tuple[str, ...]()
        #: Whether the engine is one that can be asked.
        self.synced = True

    def quickly(self, folder: Path, chosen: Path | bytes | None) -> Sent | None:
        """With what the engine was told by the last build, and the answer it gave then. None without them."""
        last = self._last
        if not last.engine or last.engine != str(self._called.endpoint):
            return None

        def ask(text: bytes) -> Needs:
            if self._question(text) != last.asked:
                raise _AnotherQuestion
            return Needs(last.paths)

        try:
            context = buildcontext.scan(folder, chosen, ask)
        except _AnotherQuestion:
            return None
        told = contextlist.tell(context, last)
        change = contextsync.change(told, last)
        if change is None:
            return None

        def kept() -> None:
            self._say(change.content_bytes, told.total_bytes)
            if told.records != last.records:
                self._cache.store(replace(last, records=told.records))

        return Sent(
            dockerfile=context.dockerfile,
            upload=ChunkReader(iter((change.body,))) if change.body else None,
            context=told.digest,
            needs=needs_digest(last.paths),
            base=change.base,
            quick=True,
            kept=kept,
        )

    def ask(self, text: bytes) -> Needs | None:
        """What the build can need of its context, None for everything. Raises EngineProblem."""
        given = self._given
        found = contextsync.needs(self._called, text, given["target"], self._build_args, given["contexts"])
        self.synced = found is not None
        # A newer base image may have triggers that nobody knows yet.
        if found is None or given["pull"]:
            return None
        self._asked, self._paths = self._question(text), tuple(found.patterns)
        return found

    def _question(self, text: bytes) -> str:
        asked = [self._given["target"], self._build_args, sorted(self._given["contexts"])]
        return hashlib.sha256(json.dumps(asked).encode() + b"\0" + text).hexdigest()

    def sync(self, context: BuildContext) -> str:
        """The token of the context, all of which the engine has then."""
        told = contextlist.tell(context, self._last)
        announced = contextsync.announce(self._called, told)
        self._say(announced.missing_bytes, told.total_bytes)
        if announced.missing:
            reader = ChunkReader(announced.contents())
            with progress.uploading(reader, "context", announced.missing_bytes) as source:
                contextsync.send(self._called, announced, source)
        engine = str(self._called.endpoint) if self._asked else ""
        now = Last(engine, self._asked, self._paths, told.records)
        if now != self._last:
            self._cache.store(now)
        return announced.token

    def _say(self, sent_bytes: int, total_bytes: int) -> None:
        if self._out is not None:
            sent, total = units.size(sent_bytes), units.size(total_bytes)
            click.echo(
                f"Sending build context to Docker daemon  {sent}" + (f" of {total}" if sent != total else ""),
                self._out,
            )


class _AnotherQuestion(Exception):  # noqa: N818 - leads to the engine being asked
    """The last answer is not one to this build's question."""


def _upload(
    context: BuildContext, out: TextIO | None, stack: ExitStack, *, compress: bool = False
) -> Readable:
    """The whole, for an engine that cannot say what it lacks, or compressed for a slow line."""
    if out is not None:
        click.echo(f"Sending build context to Docker daemon  {units.size(context.size_bytes)}", out)
    from wherry.engine import contextarchive

    reader = ChunkReader(contextarchive.chunks(context))
    source = stack.enter_context(progress.uploading(reader, "context", context.size_bytes))
    return ChunkReader(contextarchive.compressed(source)) if compress else source


def _from_stdin() -> Readable:
    """A context's archive as it is; anything else is a Dockerfile without files."""
    if sys.stdin.isatty():
        raise UsageProblem("build - reads a Dockerfile or an archive from a pipe; name a folder otherwise")
    stream = sys.stdin.buffer
    head = _read_exactly(stream, _HEAD_BYTES)
    from wherry.engine import contextarchive

    if contextarchive.is_archive(head):
        return ChunkReader(chain((head,), iter(lambda: stream.read(_CHUNK_BYTES), b"")))
    return ChunkReader(iter((contextarchive.only_dockerfile(head + stream.read()),)))


def _read_exactly(stream: IO[bytes], size: int) -> bytes:
    data = b""
    while len(data) < size and (more := stream.read(size - len(data))):
        data += more
    return data
