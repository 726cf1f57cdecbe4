"""`wherry save`."""

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import click

from wherry.cli.command import engine, verb
from wherry.errors import UsageProblem


@verb("save")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to a file, instead of STDOUT.")
@click.option("--platform", help="Save only the given platform variant.")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.pass_context
def save(ctx: click.Context, output: Path | None, platform: str | None, images: tuple[str, ...]) -> None:
    """Save one or more images to a tar archive (streamed to STDOUT by default)."""
    if output is None and sys.stdout.isatty():
        raise UsageProblem("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    chunks = engine(ctx).chunks("/images/get", {"names": list(images), "platform": platform})
    first = next(chunks, b"")  # an unknown image shows here, before a file is made
    with _destination(output) as file:
        file.write(first)
        for chunk in chunks:
            file.write(chunk)


@contextlib.contextmanager
def _destination(output: Path | None) -> Iterator[IO[bytes]]:
    """Standard output, or a file that appears under its name only when it is whole."""
    if output is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        file = tempfile.NamedTemporaryFile(dir=output.parent, prefix=f".{output.name}.", delete=False)  # noqa: SIM115
    except OSError as exc:
        raise UsageProblem(f"cannot write {output}: {exc.strerror}; choose another place with -o") from exc
    unfinished = Path(file.name)
    try:
        with file:
            yield file
        unfinished.replace(output)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
