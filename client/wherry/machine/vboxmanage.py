"""Running `VBoxManage` and reading what it says. The same for Oracle's own and for vboxqemu's.

Its exit status is not to be trusted (some failures end with 0), so stderr is read for its error mark, and
its language is fixed to English. Source: VirtualBox user manual, chapter 8, "VBoxManage".
"""

import os
import re
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wherry.errors import MachineProblem
from wherry.machine.provider import SshEndpoint
from wherry.machine.state import MachineState

#: A hypervisor that does not answer a question in this time hangs.
CALL_SECONDS = 60.0
#: VirtualBox keeps a session lock for a moment after each change; only that error is tried again.
LOCK_RETRY_SECONDS = 10.0
_LOCKED = ("VBOX_E_INVALID_OBJECT_STATE", "is already locked", "being unlocked")
_ERROR_MARK = re.compile(r"VBoxManage(?:\.exe)?: error: (.*)")
_INFO_LINE = re.compile(r'^"?(?P<key>[^"=]+)"?="?(?P<value>.*?)"?$')

STATES: Mapping[str, MachineState] = {
    "poweroff": MachineState.STOPPED,
    "saved": MachineState.SAVED,
    "aborted-saved": MachineState.SAVED,
    "aborted": MachineState.ABORTED,
    "running": MachineState.RUNNING,
    "paused": MachineState.PAUSED,
    "starting": MachineState.BUSY,
    "stopping": MachineState.BUSY,
    "saving": MachineState.BUSY,
    "restoring": MachineState.BUSY,
    "settingup": MachineState.BUSY,
    "gurumeditation": MachineState.BROKEN,
    "inaccessible": MachineState.BROKEN,
}


class NoSuchVm(MachineProblem):
    """The hypervisor knows no VM of that name."""


@dataclass(frozen=True, slots=True)
class VBoxManage:
    """program: absolute path. env: added to the environment of each call."""

    program: Path
    env: Mapping[str, str]

    def call(self, *arguments: str, timeout_seconds: float = CALL_SECONDS) -> str:
        """Runs it and returns stdout. Raises NoSuchVm or MachineProblem with VBoxManage's own words."""
        deadline = time.monotonic() + LOCK_RETRY_SECONDS
        while True:
            status, output, errors = self._run(arguments, timeout_seconds)
            marked = _ERROR_MARK.search(errors)
            if status == 0 and marked is None:
                return output
            if any(word in errors for word in _LOCKED) and time.monotonic() < deadline:
                time.sleep(0.2)
                continue
            words = marked.group(1).strip() if marked else errors.strip() or f"exit status {status}"
            problem = f"VBoxManage {' '.join(arguments[:2])}: {words}"
            if "VBOX_E_OBJECT_NOT_FOUND" in errors or "Could not find a registered machine" in errors:
                raise NoSuchVm(problem)
            raise MachineProblem(problem)

    def _run(self, arguments: tuple[str, ...], timeout_seconds: float) -> tuple[int, str, str]:
        try:
            done = subprocess.run(
                [str(self.program), *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=timeout_seconds,
                env={**os.environ, "LC_ALL": "C", **self.env},
                check=False,
            )
        except subprocess.TimeoutExpired as exc:
            raise MachineProblem(
                f"VBoxManage {' '.join(arguments[:2])} did not answer in {timeout_seconds:g} s; "
                "see whether the hypervisor hangs, then try again"
            ) from exc
        except OSError as exc:
            raise MachineProblem(f"{self.program} cannot be run: {exc}; install it again") from exc
        return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")

    def info(self, vm: str) -> dict[str, str]:
        """`showvminfo --machinereadable` as a mapping. Raises NoSuchVm."""
        return parse_info(self.call("showvminfo", vm, "--machinereadable"))

    def state(self, vm: str) -> MachineState:
        try:
            word = self.info(vm).get("VMState", "")
        except NoSuchVm:
            return MachineState.ABSENT
        # A state this version does not know is most likely a new step on the way between two others.
        return STATES.get(word, MachineState.BUSY)


def parse_info(text: str) -> dict[str, str]:
    """key="value" lines; keys may be quoted too, numbers are not. Later lines win."""
    matches = (_INFO_LINE.match(line.strip()) for line in text.splitlines())
    return {match["key"]: match["value"] for match in matches if match}


def ssh_endpoint(info: Mapping[str, str]) -> SshEndpoint | None:
    """The forward to the guest's port 22: ``Forwarding(0)="ssh,tcp,127.0.0.1,2222,,22"``."""
    rule = ssh_rule(info)
    if rule is None:
        return None
    _, host, port = rule
    return SshEndpoint(host or "127.0.0.1", port)


def ssh_rule(info: Mapping[str, str]) -> tuple[str, str, int] | None:
    """Name, host address and host port of that forward."""
    for key, value in info.items():
        if not key.startswith("Forwarding("):
            continue
        fields = value.split(",")
        if len(fields) == 6 and fields[1] == "tcp" and fields[5] == "22" and fields[3].isdigit():
            return fields[0], fields[2], int(fields[3])
    return None
