"""What a box is made from, as a hash: a box with the same inputs is never built twice.

The hash covers the files of this repository, not the mirror's state: Debian's point releases come into a box
when the recipe changes, or with `boxes/build.py --fresh`.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent

#: Of the base layer, besides the values that base.py takes from the recipe.
BASE: Sequence[str] = ("boxes/base.py", "boxes/base-hook.sh")
#: Of the box: everything that gets into it or shapes it.
BOX: Sequence[str] = ("boxes", "guest/wherryd", "wire/wherrywire")
_SUFFIXES_LEFT_OUT = {".pyc", ".md"}


def files(names: Iterable[str], repository: Path = REPOSITORY) -> Iterator[Path]:
    """The files below the names, sorted; no byte code, no documentation."""
    for name in names:
        path = repository / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and file.suffix not in _SUFFIXES_LEFT_OUT and "__pycache__" not in file.parts:
                yield file


def digest(names: Iterable[str], repository: Path = REPOSITORY, *, values: object = None) -> str:
    """Hex, 32 digits: of each file's path, whether it is executable, and content; and of the values' repr."""
    total = hashlib.sha256(repr(values).encode())
    for file in files(names, repository):
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        executable = bool(file.stat().st_mode & 0o100)
        total.update(f"{file.relative_to(repository).as_posix()}\0{executable}\0{content}\n".encode())
    return total.hexdigest()[:32]
