"""The user's side of a copy: what a path names, before anything is read or written."""

import ntpath
import os
import posixpath
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from wherry.engine.copying import places
from wherry.engine.parse.hostpaths import local_path
from wherry.errors import UsageProblem

#: How paths are read here.
PATHS: ModuleType = ntpath if sys.platform == "win32" else posixpath


@dataclass(frozen=True, slots=True)
class Source:
    """path: without a link on the way if links were to be followed. name: what the copy is called."""

    path: Path
    name: str
    is_folder: bool


def source(text: str, *, follow: bool) -> Source:
    """follow: take what a link leads to. Raises UsageProblem if nothing is there."""
    text = local_path(text)
    path = Path(text)
    # `link/` and `link/.` mean the folder behind the link, as for every program.
    if follow or places.asserts_folder(text, PATHS):
        path = Path(os.path.realpath(text))
    try:
        status = path.lstat()
    except OSError as exc:
        raise UsageProblem(f"cannot copy {text}: {(exc.strerror or str(exc)).lower()}") from exc
    is_folder = stat.S_ISDIR(status.st_mode)
    if places.asserts_folder(text, PATHS) and not is_folder:
        raise UsageProblem(f"cannot copy {text}: not a directory")
    return Source(path, _name(text), is_folder)


def _name(text: str) -> str:
    if places.means_contents(text, PATHS):
        return "."
    # `..` has a name too, which is not in its text.
    return places.base(str(PATHS.abspath(text)), PATHS)


def target(text: str) -> places.Target:
    """Links are followed. Raises UsageProblem if the folder it should be in is missing."""
    text = local_path(text)
    asserted = places.asserts_folder(text, PATHS)
    path = os.path.realpath(text)
    parent = PATHS.dirname(path)
    if not os.path.isdir(parent):  # noqa: PTH112 - beside realpath, as text
        raise UsageProblem(f'invalid output path: directory "{parent}" does not exist')
    try:
        status = Path(path).stat()
    except FileNotFoundError:
        return places.Target(path=path + "/" if asserted else path, exists=False, is_folder=False)
    except OSError as exc:
        raise UsageProblem(f"cannot copy to {text}: {exc.strerror}") from exc
    is_folder = stat.S_ISDIR(status.st_mode)
    if not is_folder and not stat.S_ISREG(status.st_mode):
        raise UsageProblem(f'invalid output path: "{text}" must be a directory or a regular file')
    shown = path + "/" if asserted and not is_folder else path
    return places.Target(path=shown, exists=True, is_folder=is_folder)


def shown(text: str) -> str:
    """Absolute, with its end as the user wrote it: how Docker names where a copy went."""
    made = str(PATHS.abspath(text))
    if places.means_contents(text, PATHS):
        return made if made.endswith("/") else f"{made}{os.sep}."
    return made + os.sep if places.asserts_folder(text, PATHS) and not made.endswith(os.sep) else made
