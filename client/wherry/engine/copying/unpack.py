"""An archive from a container -> files in a folder of the user's, and never anywhere else.

What is in a container is somebody else's: no link on the way to a file is ever followed, neither one that
the archive brought nor one that lay there, and nothing is written through one. How a folder is entered
without following links, and what a file may be called, is the platform's (`_posix`, `_windows`).
"""

import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from wherry.engine.client import Readable
from wherry.errors import EngineProblem, UsageProblem

if sys.platform == "win32":
    from wherry.engine.copying._windows import Folder
else:
    from wherry.engine.copying._posix import Folder

__all__ = ["Result", "unpack"]


@dataclass(slots=True)
class Result:
    """skipped: entries this platform or user cannot have, each with the reason."""

    skipped: list[str] = field(default_factory=list)


def unpack(archive: Readable, folder: Path, rename: Callable[[str], str | None], *, owners: bool) -> Result:
    """rename: an entry's name -> its name below folder, or None for one that has no business here.

    owners: keep uid and gid, and the bits that depend on them. Raises UsageProblem, EngineProblem.
    """
    result = Result()
    later: list[tuple[str, tarfile.TarInfo]] = []
    try:
        with tarfile.open(fileobj=archive, mode="r|", errorlevel=2) as entries, Folder(folder) as root:  # type: ignore[call-overload]  # reads are all it does
            for entry in entries:
                name = _name(entry.name, rename)
                if entry.islnk():
                    entry.linkname = _name(entry.linkname, rename)
                if not owners:
                    entry.mode &= 0o777
                reason = _make(root, entries, name, entry)
                if reason:
                    result.skipped.append(f"{name}: {reason}")
                    continue
                if owners:
                    root.own(name, entry)
                if entry.isdir():
                    later.append((name, entry))  # files made in it would change its time
            for name, entry in reversed(later):
                root.finish_folder(name, entry)
    except tarfile.TarError as exc:
        raise EngineProblem(f"the engine's archive cannot be read: {exc}; see its log") from exc
    except OSError as exc:
        where = exc.filename or folder
        raise UsageProblem(f"cannot write {where}: {exc.strerror or exc}; copy to another folder") from exc
    return result


def _name(name: str, rename: Callable[[str], str | None]) -> str:
    new = rename(name)
    if new is None:
        raise EngineProblem(f'the archive names "{name}", which is not below what was asked for; not copied')
    return new


def _make(root: Folder, entries: tarfile.TarFile, name: str, entry: tarfile.TarInfo) -> str:
    """Makes one entry; gives the reason if it cannot be had here."""
    problem = root.name_problem(name)
    if problem:
        return problem
    if entry.isdir():
        root.make_folder(name, entry)
        return ""
    root.clear(name)
    if entry.isreg():
        data = entries.extractfile(entry)
        assert data is not None  # noqa: S101 - regular files have contents
        root.write_file(name, entry, data)
        return ""
    if entry.issym():
        return root.make_symlink(name, entry.linkname)
    if entry.islnk():
        problem = root.name_problem(entry.linkname)
        return problem or root.make_link(name, entry.linkname)
    return root.make_special(name, entry)
