"""The states of a machine, computed from the hypervisor each time and never kept in a file."""

from enum import StrEnum


class MachineState(StrEnum):
    #: The hypervisor knows no such VM.
    ABSENT = "absent"
    STOPPED = "stopped"
    RUNNING = "running"
    PAUSED = "paused"
    #: Memory is on disk; the next start resumes.
    SAVED = "saved"
    #: The VM's process died, or the host went down with it.
    ABORTED = "aborted"
    #: On the way from one state to another (starting, saving, ...).
    BUSY = "busy"
    #: The hypervisor says the VM is beyond use (VirtualBox: "gurumeditation", "inaccessible").
    BROKEN = "broken"

    @property
    def is_on(self) -> bool:
        """Whether a guest is in memory now."""
        return self in (MachineState.RUNNING, MachineState.PAUSED, MachineState.BUSY)
