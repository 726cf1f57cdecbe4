"""The folder that holds everything, drawn once.

    VBOXQEMU_HOME/
        machines/<folder>/        one VM; the folder keeps the name the VM was made with
            vm.json                 what the VM is (schema.Vm)
            lock                    held by the command that changes the VM
            run.json                the QEMU process started last (schema.Run)
            running                 lock file: held by QEMU and its supervisor for as long as either lives
            qemu.pid                QEMU's process id; means nothing unless `running` is held
            exit.json               how that QEMU ended (schema.Exit)
            qmp.sock                QEMU's control socket, while it runs
            saved.json, state.bin   saved state; saved.json is written last and removed first
            Logs/qemu.log           QEMU's output
            *.vmdk ...              disks made for this VM
        bases/<sha256>.qcow2      box disks, converted once; the VMs' disks are overlays over them
        bases/index.json          (path, size, mtime) of a source -> its sha256
        media.json                disks that `list hdds` knows (schema.Medium by path)
        media.lock
        accel.json                which acceleration works here (accel.py)

Every JSON file is replaced atomically, so readers take no lock.
"""

from __future__ import annotations

import os
import sys


def home() -> str:
    """The root: VBOXQEMU_HOME, or the place the platform gives to such data. Creates nothing."""
    named = os.environ.get("VBOXQEMU_HOME")
    if named:
        return os.path.abspath(os.path.expanduser(named))
    if sys.platform == "win32":
        root = os.environ.get("LOCALAPPDATA") or os.path.expanduser("~\\AppData\\Local")
    elif sys.platform == "darwin":
        root = os.path.expanduser("~/Library/Application Support")
    else:
        root = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return os.path.join(root, "wherry", "vboxqemu")


def machines() -> str:
    return os.path.join(home(), "machines")


def bases() -> str:
    return os.path.join(home(), "bases")
