r"""Where a copy lands and what its root is called there. Pure.

    source           target                    becomes
    file or folder   folder that is there      TARGET/name of the source
    FOLDER/.         folder that is there      the contents of FOLDER, in TARGET
    file             file that is there        TARGET, replaced
    file or folder   nothing there             TARGET
    file             nothing there, "x/"       an error: no such directory
    folder           file that is there        an error: cannot copy directory

Source: docker container cp reference. Windows' paths are understood by `windows=True` on any platform.
"""

import ntpath
import os
import posixpath
from dataclasses import dataclass
from types import ModuleType

from wherry.errors import UsageProblem

STREAM = "-"


@dataclass(frozen=True, slots=True)
class Argument:
    """One side of a copy. container: "" for the user's own files. path: as written; "-" is a tar stream."""

    container: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is at the target now."""

    path: str
    exists: bool
    is_folder: bool


@dataclass(frozen=True, slots=True)
class Place:
    """The folder to unpack in, and what the copied root is called there (`.`: its contents, without it)."""

    folder: str
    name: str


def argument(text: str, *, windows: bool = os.name == "nt") -> Argument:
    r"""`container:path`, or a local path: absolute ones (with a drive: `C:\x`) and what begins with `.`.

    So `./a:b` is a file with a colon in its name.
    """
    if text == STREAM or _is_local(text, windows):
        return Argument("", text)
    container, colon, path = text.partition(":")
    if not colon or container.startswith("."):
        return Argument("", text)
    return Argument(container, path)


def _is_local(text: str, windows: bool) -> bool:
    if not windows:
        return text.startswith("/")
    drive, rest = ntpath.splitdrive(text)
    # `C:x` too: a container has no name of one letter (Docker asks for two).
    return bool(drive) or rest.startswith(("/", "\\"))


def check(source: Argument, target: Argument) -> None:
    """Raises UsageProblem unless exactly one side is a container."""
    if not source.path:
        raise UsageProblem("source can not be empty; name what to copy")
    if not target.path:
        raise UsageProblem("destination can not be empty; name where to copy to")
    if source.container and target.container:
        raise UsageProblem("copying between containers is not supported; copy to a folder first")
    if not source.container and not target.container:
        raise UsageProblem("must specify at least one container source; write CONTAINER:PATH")


def asserts_folder(path: str, paths: ModuleType = posixpath) -> bool:
    """Whether a path can only be a folder's: it ends in a separator or in `/.`."""
    return path.endswith(_separators(paths)) or means_contents(path, paths)


def means_contents(path: str, paths: ModuleType = posixpath) -> bool:
    """`folder/.`: what is in it, and not the folder itself."""
    return path == "." or any(path.endswith(separator + ".") for separator in _separators(paths))


def base(path: str, paths: ModuleType = posixpath) -> str:
    """The last name, or `.` for `folder/.`, a root and `..`."""
    if means_contents(path, paths):
        return "."
    name = paths.basename(paths.normpath(path))
    return "." if name in {"", ".."} else str(name)


def _separators(paths: ModuleType) -> tuple[str, ...]:
    return ("/", "\\") if paths is ntpath else ("/",)


def place(source_base: str, source_is_folder: bool, target: Target, paths: ModuleType = posixpath) -> Place:
    """paths: posixpath or ntpath, as the target's platform has it. Raises UsageProblem."""
    if target.exists and target.is_folder:
        return Place(target.path, source_base)
    if target.exists and source_is_folder:
        raise UsageProblem(f"cannot copy directory: {target.path} is a file; name a folder")
    if target.exists and asserts_folder(target.path, paths):
        raise UsageProblem(f"not a directory: {target.path}")
    if not target.exists and not source_is_folder and asserts_folder(target.path, paths):
        raise UsageProblem(f"no such directory: {target.path}; make it first, or leave the last / out")
    folder, name = paths.split(paths.normpath(target.path))
    return Place(str(folder or "."), str(name))


def renamed(name: str, root: str, new: str) -> str | None:
    """An archive's name with its first part root replaced by new; None if it is not below root.

    `etc/hosts`, root `etc`, new `x` -> `x/hosts`; root `.` stands for every name.
    """
    clean = posixpath.normpath(name.lstrip("/") or ".")
    if clean == ".." or clean.startswith("../"):
        return None
    if root == ".":
        rest = "" if clean == "." else clean
    elif clean == root or clean.startswith(root + "/"):
        rest = clean[len(root) + 1 :]
    else:
        return None
    return posixpath.normpath(posixpath.join(new, rest))
