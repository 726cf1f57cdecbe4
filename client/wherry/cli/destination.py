"""Where `save`, `export` and `cp` write an archive: standard output, or a file that is whole or not there."""

import contextlib
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from wherry.errors import UsageProblem


def write(chunks: Iterable[bytes], output: Path | None) -> None:
    """Writes all chunks. Raises UsageProblem if output is None and standard output is a terminal."""
    if output is None and sys.stdout.isatty():
        raise UsageProblem("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    rest = iter(chunks)
    first = next(rest, b"")  # what the engine does not have shows here, before a file is made
    with _opened(output) as file:
        file.write(first)
        for chunk in rest:
            file.write(chunk)


@contextlib.contextmanager
def _opened(output: Path | None) -> Iterator[IO[bytes]]:
    """Standard output, or a file that appears under its name only when it is whole."""
    if output is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if output.exists() and not output.is_file():
        # A device or a pipe: /dev/null must stay what it is. (A folder fails to open, with its reason.)
        try:
            file: IO[bytes] = output.open("wb")
        except OSError as exc:
            raise UsageProblem(_cannot(output, exc)) from exc
        with file:
            yield file
        return
    try:
        file = tempfile.NamedTemporaryFile(dir=output.parent, prefix=f".{output.name}.", delete=False)  # noqa: SIM115
    except OSError as exc:
        raise UsageProblem(_cannot(output, exc)) from exc
    unfinished = Path(file.name)
    try:
        with file:
            yield file
        unfinished.replace(output)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _cannot(output: Path, exc: OSError) -> str:
    return f"cannot write {output}: {exc.strerror}; choose another place with -o"
