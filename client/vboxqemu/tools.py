"""QEMU's programs: where they are, and what to install when they are not."""

from __future__ import annotations

import os
import sys

from vboxqemu.errors import Hypervisor

INSTALL = {
    "linux": "apt install qemu-system-x86 qemu-utils (Debian) or dnf install qemu-system-x86 qemu-img",
    "darwin": "brew install qemu",
    "win32": "winget install SoftwareFreedomConservancy.QEMU, then open a new terminal",
}

#: Where QEMU's own installers put it although PATH does not say so.
EXTRA_FOLDERS = {
    "darwin": ("/opt/homebrew/bin", "/usr/local/bin"),
    "win32": (r"C:\Program Files\qemu",),
}


def find(program: str) -> str:
    """The program's path. Raises Hypervisor with one sentence that says what to install."""
    import shutil

    folders = [os.environ.get("PATH", os.defpath), *EXTRA_FOLDERS.get(sys.platform, ())]
    found = shutil.which(program, path=os.pathsep.join(folders))
    if found is None:
        how = INSTALL.get(sys.platform, "install QEMU with your system's package manager")
        raise Hypervisor(f"{program} is not installed; install QEMU: {how}")
    return found


def emulator() -> str:
    return find("qemu-system-x86_64")


def run(*argv: str, timeout_s: float = 3600.0) -> str:
    """Runs a program to its end and returns its output. Raises Hypervisor with its message when it fails."""
    import subprocess

    try:
        done = subprocess.run(
            [find(argv[0]), *argv[1:]],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            errors="replace",
        )
    except subprocess.TimeoutExpired as exc:
        raise Hypervisor(
            f"{argv[0]} {argv[1]} did not end in {timeout_s:.0f} s; is the disk very slow or full?"
        ) from exc
    if done.returncode:
        raise Hypervisor(
            f"{argv[0]} {argv[1]} failed: {done.stderr.strip() or f'exit status {done.returncode}'}"
        )
    return done.stdout
