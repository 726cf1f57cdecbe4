"""Reading and writing control files: one place for their errors and number formats."""

import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from wherryd.errors import InvalidParameter, SystemFault

#: cgroup v1's "no limit" is the largest page-aligned number; anything above this means no limit.
V1_UNLIMITED = 1 << 62


@dataclass(frozen=True, slots=True)
class Write:
    """One value for one control file. controller: who must be there for it, also for the error."""

    controller: str
    file: str
    value: str


def write(directory: Path, file: str, value: str) -> None:
    """Writes a control file. Raises InvalidParameter when the kernel refuses the value, else SystemFault."""
    try:
        fd = os.open(directory / file, os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        raise SystemFault(_explain("open", directory / file, value, error)) from error
    try:
        os.write(fd, value.encode())
    except OSError as error:
        kind = InvalidParameter if error.errno == errno.EINVAL else SystemFault
        raise kind(_explain("write", directory / file, value, error)) from error
    finally:
        os.close(fd)


def _explain(verb: str, path: Path, value: str, error: OSError) -> str:
    hint = ""
    if error.errno == errno.ENOENT:
        hint = " (the kernel or the parent cgroup does not offer this limit)"
    elif error.errno == errno.EINVAL:
        hint = " (the kernel refuses this value)"
    elif error.errno == errno.EBUSY:
        hint = " (in use: lower the usage first)"
    return f"{verb} {value!r} to {path}: {error.strerror}{hint}"


def read(path: Path) -> str:
    """A control file's text; empty when it is not there (older kernel, controller off)."""
    try:
        return path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        # ENODEV: the cgroup was removed between open and read. EOPNOTSUPP: not for this controller.
        if error.errno in (errno.ENODEV, errno.EOPNOTSUPP):
            return ""
        raise SystemFault(f"read {path}: {error.strerror}") from error


def number(path: Path, default: int = 0) -> int:
    """A file that holds one number; default when it is missing."""
    text = read(path).strip()
    return int(text) if text.lstrip("-").isdigit() else default


def limit(path: Path) -> int | None:
    """A limit: None for "max", for v1's huge number, or when the file is missing."""
    text = read(path).strip()
    if not text.isdigit() or int(text) >= V1_UNLIMITED:
        return None
    return int(text)


def table(path: Path) -> dict[str, int]:
    """A file of `name number` lines."""
    pairs = (line.split() for line in read(path).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].lstrip("-").isdigit()}


def ids(texts: Iterable[str]) -> list[int]:
    return [int(text) for text in texts if text.strip().isdigit()]
