"""The seam between Wherry and whatever runs the VM. Every provider passes tests/contract/test_provider_*.

The contract, beyond the types:
  * `state` asks the hypervisor; no answer is remembered.
  * `start` returns when the boot (or the resume) has begun, and is a success on a running VM.
  * `stop`, `save` and `delete` of what is already so are successes.
  * `create` leaves nothing behind when it fails, and leaves the VM stopped when it succeeds.
  * `delete` never deletes the data disk with keep_data.
  * All raise MachineProblem (MissingTool from `check`) with a message that ends in a next step.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from wherry.machine.state import MachineState


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """save: whether memory can be put to disk. emulated: whether the guest's CPU is emulated in software
    (None: not known), which makes every wait longer.
    """

    save: bool
    emulated: bool | None


@dataclass(frozen=True, slots=True)
class SshEndpoint:
    host: str
    port: int


class Provider(Protocol):
    """One machine's VM. Made by `store`, never by name lookups elsewhere."""

    @property
    def capabilities(self) -> Capabilities: ...

    def check(self) -> None:
        """Raises MissingTool, saying what to install, unless all programs are there."""

    def create(self) -> None:
        """Makes the VM from the record's box, with the seed and the data disk attached; stopped."""

    def start(self) -> None:
        """Boots or resumes, from any state but ABSENT and BROKEN."""

    def stop(self, *, grace_seconds: float) -> bool:
        """Shuts the guest down. Power is cut after grace_seconds (0: at once); True when that was needed."""

    def save(self) -> None:
        """Puts the guest's memory to disk. A stopped VM stays stopped."""

    def delete(self, *, keep_data: bool) -> None:
        """Removes the VM, whatever state it is in, and its disks; the data disk only without keep_data."""

    def state(self) -> MachineState: ...

    def ssh_endpoint(self) -> SshEndpoint:
        """Where the guest's sshd is reached on the host."""

    @property
    def log(self) -> Path:
        """Where the provider's helper programs said what they did."""
