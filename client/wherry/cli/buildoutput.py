"""`wherry build --output`: what is made of the image when it is built.

Source: docker buildx build reference, "--output".
"""

import csv
import platform
import sys
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, Any, cast

from wherry.cli import destination, progress, references
from wherry.engine.buildcontext import ChunkReader
from wherry.engine.client import EngineClient, body_of, segment
from wherry.engine.logins import Logins
from wherry.engine.progress import read
from wherry.errors import UsageProblem

_STDOUT = "-"


class Kind(StrEnum):
    LOCAL = "local"
    TAR = "tar"
    DOCKER = "docker"
    OCI = "oci"
    IMAGE = "image"
    REGISTRY = "registry"


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """dest: a folder for LOCAL, else a file; "-" is stdout. names: the image gets; push: them all."""

    kind: Kind
    dest: str = ""
    names: tuple[str, ...] = ()
    push: bool = False

    @property
    def to_stdout(self) -> bool:
        return self.dest == _STDOUT


def parse(texts: Sequence[str], *, push: bool) -> list[Output]:
    """texts: of --output. push: --push. Raises UsageProblem."""
    found = [_parse(text) for text in texts]
    if sum(output.to_stdout for output in found) > 1:
        raise UsageProblem("only one --output can be written to stdout; give the others a dest")
    # PEP 706 came with Python 3.11.4; what unpacks without it would follow links out of the folder.
    if any(output.kind is Kind.LOCAL for output in found) and not hasattr(tarfile, "tar_filter"):
        raise UsageProblem(
            f"--output to a folder: this Python ({platform.python_version()}) cannot unpack archives safely; "
            "take type=tar,dest=FILE, or install wherry with Python 3.11.4 or newer"
        )
    return [*found, Output(kind=Kind.REGISTRY, push=True)] if push else found


def _parse(text: str) -> Output:
    (fields,) = csv.reader([text])
    if len(fields) == 1 and "=" not in text:
        return Output(kind=Kind.TAR if text == _STDOUT else Kind.LOCAL, dest=text)
    given: dict[str, str] = {}
    for each in fields:
        key, equals, value = each.partition("=")
        if not equals:
            raise UsageProblem(
                f"invalid --output {text}: {each} is not key=value; write type=local,dest=FOLDER"
            )
        given[key.strip().lower()] = value.strip()
    try:
        kind = Kind(given.pop("type", ""))
    except ValueError:
        raise UsageProblem(f"invalid --output {text}: type is one of {', '.join(Kind)}") from None
    dest = given.pop("dest", "")
    names = tuple(name for name in given.pop("name", "").split(",") if name)
    push = given.pop("push", "false").lower() in ("true", "1") or kind is Kind.REGISTRY
    if given:
        raise UsageProblem(
            f"--output: {', '.join(sorted(given))} is not available; keys are type, dest, name, push"
        )
    if kind is Kind.LOCAL and dest in ("", _STDOUT):
        raise UsageProblem("--output type=local wants a folder: type=local,dest=FOLDER")
    if kind in (Kind.IMAGE, Kind.REGISTRY) and dest:
        raise UsageProblem(
            f"--output type={kind} has no dest; it stays in the engine or goes to its registry"
        )
    if not dest and kind in (Kind.TAR, Kind.OCI):
        dest = _STDOUT
    return Output(kind=kind, dest=dest, names=names, push=push)


def write(client: EngineClient, image_id: str, output: Output, tags: Sequence[str], *, quiet: bool) -> None:
    """tags: of --tag, which the image has. Raises EngineProblem, UsageProblem."""
    for name in output.names:
        bare, tag = references.split(name)
        client.post(f"/images/{segment(image_id)}/tag", {"repo": bare, "tag": tag})
    names = [*tags, *output.names]
    if output.push:
        if not names:
            raise UsageProblem(
                "an image without a name cannot be pushed; name it with -t, or name= of --output"
            )
        for name in names:
            _push(client, name, quiet=quiet)
    elif output.kind is Kind.LOCAL:
        with _exported(client, image_id) as chunks:
            _unpack(chunks, Path(output.dest))
    elif output.kind is Kind.TAR:
        with _exported(client, image_id) as chunks:
            destination.write(chunks, _path(output))
    elif output.dest:
        # One archive is both: docker's own, and an OCI layout.
        params = {"names": names or [image_id]}
        destination.write(client.chunks("/images/get", params), _path(output))


def _path(output: Output) -> Path | None:
    return None if output.to_stdout else Path(output.dest)


@contextmanager
def _exported(client: EngineClient, image_id: str) -> Iterator[Iterator[bytes]]:
    """The image's files as an archive, by way of a container that never runs."""
    container = client.post("/containers/create", body={"Image": image_id, "Cmd": ["-"]})["Id"]
    try:
        yield client.chunks(f"/containers/{container}/export")
    finally:
        client.delete(f"/containers/{container}", {"v": True, "force": True})


def _unpack(chunks: Iterator[bytes], folder: Path) -> None:
    """As files of the user: owners stay in the image, and devices, which only root can make."""

    def chosen(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
        if member.ischr() or member.isblk() or member.isfifo():
            return None
        # Nothing is written outside of the folder; links may lead where they like, as in the image.
        kept = tarfile.tar_filter(member, path)
        nobody: Any = None  # the library's way to say that owners are left out
        return kept.replace(uid=nobody, gid=nobody, uname=nobody, gname=nobody, deep=False)

    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", ChunkReader(chunks)), mode="r|") as archive:
            archive.extractall(folder, filter=chosen)  # noqa: S202 - the filter looks at each member
    except (OSError, tarfile.TarError) as exc:
        raise UsageProblem(f"cannot write to {folder}: {exc}; name another folder") from exc


def _push(client: EngineClient, name: str, *, quiet: bool) -> None:
    bare, tag = references.split(name)
    headers = Logins().header_for(references.domain(bare))
    with client.call(
        "POST", f"/images/{segment(bare)}/push", {"tag": tag}, headers=headers, stream=True
    ) as answer:
        progress.follow(read(body_of(answer)), None if quiet else sys.stdout)
