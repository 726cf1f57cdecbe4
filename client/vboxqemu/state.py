"""What a VM is doing. Asked of the operating system each time; no file is believed about a process.

The lock file `running` is held by QEMU (and its supervisor) itself, so it is free as soon as they are gone,
however they went. run.json only tells what we last asked of a living QEMU, exit.json how a dead one ended.

    running held   -> the phase in run.json: starting, running, paused, saving, stopping, restoring
                      (between two states only while a command works on the VM: one that was killed
                      half-way leaves the VM as ORPHANED says)
    free           -> saved.json there: saved
                      never ran, or ended of itself or on our request: poweroff
                      else (killed, crashed, the host went down): aborted
"""

from __future__ import annotations

import os

from vboxqemu import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from vboxqemu.schema import Exit, Run

#: States in which a QEMU process exists.
ONLINE = frozenset({"starting", "running", "paused", "saving", "stopping", "restoring"})
#: States from which `startvm` starts.
STARTABLE = frozenset({"poweroff", "aborted", "saved"})

#: Phase of a living VM that no command works on any more -> what it really is. While a state is saved or
#: restored QEMU's guest stands still, and `controlvm resume` lets it go on.
ORPHANED = {"starting": "running", "stopping": "running", "saving": "paused", "restoring": "paused"}

#: VMState -> what `showvminfo` and `list --long` call it for people.
WORDS = {
    "poweroff": "powered off",
    "aborted": "aborted",
    "saved": "saved",
    "starting": "starting",
    "running": "running",
    "paused": "paused",
    "saving": "saving",
    "stopping": "stopping",
    "restoring": "restoring",
}


def is_alive(folder: str) -> bool:
    return files.is_held(os.path.join(folder, "running"))


def of(folder: str) -> str:
    """The VM's state, one of WORDS."""
    run: Run | None = files.read_json(os.path.join(folder, "run.json"))
    if run is not None and is_alive(folder):
        if run["phase"] in ORPHANED and not files.is_held(os.path.join(folder, "lock")):
            return ORPHANED[run["phase"]]
        return run["phase"]
    if os.path.exists(os.path.join(folder, "saved.json")):
        return "saved"
    if run is None:
        return "poweroff"
    # The supervisor writes exit.json before it lets go of `running`: free and no exit.json means it was
    # killed too.
    end: Exit | None = files.read_json(os.path.join(folder, "exit.json"))
    if run["phase"] == "stopping" or (end is not None and end["clean"]):
        return "poweroff"
    return "aborted"


def set_phase(folder: str, phase: str) -> None:
    """Notes what was asked of the living QEMU. The caller holds the VM's lock."""
    path = os.path.join(folder, "run.json")
    run: Run = files.read_json(path)
    run["phase"] = phase
    files.write_json(path, run)
