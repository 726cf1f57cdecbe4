r"""Paths of the user's machine in `-v` and `--mount`, as the engine's machine has them. Pure.

    on Windows                       in the guest
    C:\Users\me   C:/Users/me        /c/Users/me
    \\?\C:\Users\me                  /c/Users/me
    /c/Users/me   (Git Bash)         /c/Users/me
    .\data   data\..\x               below the current folder, then as above
    \\server\share\x                 refused: give the share a drive letter
    \\.\pipe\name                    refused: Linux has no such pipes

Elsewhere a path stays as it is, made absolute if it begins with a dot. `/c/...` is what Docker's own virtual
machines have always used for drives, so that scripts go on working.
"""

import ntpath
import posixpath
import re
import sys
from pathlib import PurePath

from wherry.errors import UsageProblem

WINDOWS = sys.platform == "win32"
_DRIVE = re.compile(r"^([A-Za-z]):[\\/]")
#: Up to where a colon belongs to a drive and separates nothing.
DRIVE_PREFIX = re.compile(r"^((\\\\|//)[?.][\\/])?[A-Za-z]:(?=[\\/])")
_LONG = re.compile(r"^(\\\\|//)[?.][\\/](?=[A-Za-z]:[\\/])")
#: What Git Bash makes of `-v /c/x:/data`, taking the two for a list of its own paths, and of `-v name:/data`.
_MANGLED = re.compile(r"[;:][A-Za-z]:[\\/]")


def has_drive(path: str) -> bool:
    return _DRIVE.match(path) is not None


def is_path(source: str, *, windows: bool = WINDOWS) -> bool:
    """Whether the source of `-v` names a file and not a volume."""
    return source.startswith((".", "/")) or has_drive(source) or (windows and "\\" in source)


def guest_path(source: str, cwd: PurePath | str, *, windows: bool = WINDOWS) -> str:
    """cwd: the user's current folder. Raises UsageProblem for what cannot be mounted."""
    if not windows:
        if not source.startswith("."):
            return source
        # normpath only where it must: links on the way stay as the user wrote them.
        joined = posixpath.join(str(cwd), source)
        return posixpath.normpath(joined)
    path = _LONG.sub("", source)
    if path.startswith(("\\\\", "//")):
        kind = "a named pipe" if re.match(r"^(\\\\|//)\.[\\/]pipe[\\/]", path) else "a network share"
        advice = "mount a folder instead" if kind == "a named pipe" else "give it a drive letter (net use)"
        raise UsageProblem(f"{source} is {kind}, which a Linux container cannot have; {advice}")
    if re.match(r"^/[A-Za-z](/|$)", path):
        return path
    if not has_drive(path):
        path = ntpath.join(str(cwd), path)
    drive, rest = ntpath.splitdrive(ntpath.normpath(path))
    if not has_drive(drive + "\\"):
        raise UsageProblem(f"{source} is on a network share; go to a folder on a drive first")
    return f"/{drive[0].lower()}{rest.replace(chr(92), '/')}".rstrip("/") or "/"


def local_path(text: str, *, windows: bool = WINDOWS) -> str:
    r"""A path for this system's own calls: on Windows, Git Bash's `/c/x` is `C:\x`."""
    found = re.match(r"^/([A-Za-z])(?=/|$)", text) if windows else None
    if found is None:
        return text
    rest = text[2:].replace("/", "\\") or "\\"
    return f"{found[1].upper()}:{rest}"


def check_rewritten(tail: str, spec: str, *, windows: bool = WINDOWS) -> None:
    """tail: of spec, after a drive at its beginning. Raises UsageProblem if Git Bash has been at it."""
    if windows and _MANGLED.search(tail):
        raise UsageProblem(
            f"invalid volume specification: '{spec}': Git Bash has rewritten it; set MSYS_NO_PATHCONV=1"
        )
