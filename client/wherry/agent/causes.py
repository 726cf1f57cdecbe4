"""One likely cause for a start that failed, from where it stopped and what the guest said. Pure.

A list of small rules, first match wins; each is a sentence that ends in what to do.
"""

import re
from collections.abc import Sequence

#: pattern in the serial log -> cause.
_SAYINGS: Sequence[tuple[str, str]] = (
    (
        r"No space left on device",
        "the guest's disk is full: remove images or containers, or make the machine with a larger --disk",
    ),
    (
        r"Kernel panic[^\n]*Unable to mount root|VFS: Cannot open root device",
        "the guest does not find its system disk: `wherry machine rm --keep-data` and `wherry machine init`",
    ),
    (
        r"Out of memory: Killed|Kernel panic[^\n]*memory",
        "the guest has too little memory: make the machine with a larger --memory",
    ),
    (r"Kernel panic", "the guest's kernel stopped: see `wherry machine logs --serial`"),
    (
        r"(?:No bootable|Could not read from (?:the )?(?:boot|CDROM)|FATAL: (?:No|Could not))",
        "the box has no system that boots here: build or name another box",
    ),
    (
        r"You are in emergency mode|emergency\.target",
        "the guest is in its emergency mode: see `wherry machine logs --serial`",
    ),
)
_FAILED_UNIT = re.compile(r"Failed to start (?:\S+\.(?:service|mount) - )?([^\n.]+)")


def likely(stage: str, serial: str, *, emulated: bool) -> str:
    """stage: the one that did not end. serial: the log's tail."""
    for pattern, cause in _SAYINGS:
        if re.search(pattern, serial):
            return cause
    failed = _FAILED_UNIT.search(serial)
    if failed:
        return f'in the guest "{failed[1].strip()}" failed to start: see `wherry machine logs --serial`'
    slow = " (the CPU is emulated here, which is slow: a larger --timeout may do)" if emulated else ""
    return {
        "kernel": (
            f"the guest's kernel said nothing more{slow}"
            if serial
            else "the guest said nothing at all: a hypervisor that is blocked by another one (Hyper-V, KVM) "
            "looks like this; stop the other one, or see `wherry machine logs`"
        ),
        "ready": f"sshd or the engine did not come up in time{slow}: see `wherry machine logs --serial`",
        "tunnel": "the guest's sshd does not answer on its port of this host: a firewall or another program "
        "may be in the way; see `wherry machine logs --agent`",
        "api": "the engine in the guest does not answer: `wherry machine ssh -- sudo journalctl -u wherryd`",
    }.get(stage, "see `wherry machine logs`")
