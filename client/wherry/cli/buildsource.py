"""How the engine gets what `wherry build` is given: by contents where it can, as an archive, or by itself."""

import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any, TextIO

import click

from wherry.cli import progress
from wherry.cli.output import units
from wherry.engine import buildcontext, contextsync
from wherry.engine.buildcontext import BuildContext, ChunkReader
from wherry.engine.client import EngineClient, Readable
from wherry.engine.statcache import StatCache
from wherry.errors import UsageProblem
from wherry.paths import paths
from wherrywire.contextsync import Needs

_HEAD_BYTES = 512
_CHUNK_BYTES = 256 * 1024
_URLS = ("http://", "https://", "git://", "git@", "github.com/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """How the engine comes to the context. dockerfile: its name in it."""

    dockerfile: str | None
    upload: Readable | None = None
    remote: str | None = None
    token: str | None = None

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
) -> Sent:
    """source: a folder, a URL, or "-" for standard input. given: the verb's options. stack: closed when the
    build has ended. Raises EngineProblem, UsageProblem."""
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
        chosen: Path | bytes | None = sys.stdin.buffer.read()
    else:
        chosen = Path(dockerfile) if dockerfile else None
    synced = True

    def ask(text: bytes) -> Needs | None:
        nonlocal synced
        found = contextsync.needs(called, text, given["target"], build_args, given["contexts"])
        synced = found is not None
        # A newer base image may have triggers that nobody knows yet.
        return None if given["pull"] else found

    context = buildcontext.scan(folder, chosen, ask)
    if synced:
        return Sent(token=_sync(called, folder, context, out), dockerfile=context.dockerfile)
    return Sent(upload=_upload(context, out, stack), dockerfile=context.dockerfile)


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
    return f"context:{_sync(called, folder, buildcontext.whole(folder), out)}"


def _sync(called: EngineClient, folder: Path, context: BuildContext, out: TextIO | None) -> str:
    """The token of the context, all of which the engine has then."""
    announced = contextsync.announce(called, context, StatCache(paths().contexts, folder))
    if out is not None:
        sent, total = units.size(announced.missing_bytes), units.size(announced.total_bytes)
        click.echo(
            f"Sending build context to Docker daemon  {sent}" + (f" of {total}" if sent != total else ""), out
        )
    if announced.missing:
        reader = ChunkReader(announced.contents())
        with progress.uploading(reader, "context", announced.missing_bytes) as source:
            contextsync.send(called, announced, source)
    return announced.token


def _upload(context: BuildContext, out: TextIO | None, stack: ExitStack) -> Readable:
    """The whole, for an engine that cannot say what it lacks."""
    if out is not None:
        click.echo(f"Sending build context to Docker daemon  {units.size(context.size_bytes)}", out)
    from wherry.engine import contextarchive

    reader = ChunkReader(contextarchive.chunks(context))
    return stack.enter_context(progress.uploading(reader, "context", context.size_bytes))


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
