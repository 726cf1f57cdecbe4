"""Writes the executable `VBoxManage` that runs this package with the interpreter that is running now.

It starts Python isolated and without site packages (-I -S): that is half the time of a usual start, and
Vagrant asks a hundred times. On POSIX it is a shell script, since a `#!` line takes neither blanks nor long
paths everywhere.
"""

from __future__ import annotations

import os
import shlex
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path


def install(directory: Path) -> Path:
    """Makes `directory/VBoxManage` (`VBoxManage.cmd` on Windows), in one step, and returns its path."""
    directory.mkdir(parents=True, exist_ok=True)
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    code = f"import sys; sys.path.insert(0, {root!r}); from vboxqemu.main import main; main()"
    if sys.platform == "win32":
        path = directory / "VBoxManage.cmd"
        doubled = code.replace("%", "%%")
        text = f'@"{sys.executable}" -I -S -c "{doubled}" %*\r\n'
    else:
        path = directory / "VBoxManage"
        text = f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -I -S -c {shlex.quote(code)} "$@"\n'
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return path
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8", newline="")
    temporary.chmod(0o755)
    temporary.replace(path)
    return path
