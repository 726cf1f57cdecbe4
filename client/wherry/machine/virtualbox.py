"""The provider for everything that answers to `VBoxManage`.

Vagrant makes and destroys the VM, from the one Vagrantfile. All else goes to VBoxManage directly: a call
of Vagrant costs a second or more, one of VBoxManage some tens of milliseconds.
"""

import time
from pathlib import Path

from wherry.errors import MachineProblem
from wherry.machine import hypervisor, sshport
from wherry.machine.hypervisor import Choice
from wherry.machine.provider import Capabilities, SshEndpoint
from wherry.machine.record import MachineRecord
from wherry.machine.state import MachineState
from wherry.machine.vagrant import VagrantRunner
from wherry.machine.vboxmanage import NoSuchVm, ssh_endpoint, ssh_rule
from wherry.paths import MachinePaths

STORAGE_CONTROLLER = "SATA Controller"
#: Ports of that controller; port 0 is the system disk. The same numbers as in the Vagrantfile.
DATA_PORT, SEED_PORT = 1, 2

POLL_SECONDS = 0.25
#: A VM on its way between two states gets there in this time, or hangs.
SETTLE_SECONDS = 60.0
#: A guest that is still booting does not hear the power button: it is pressed again.
PRESS_AGAIN_SECONDS = 8.0
SAVE_SECONDS = 300.0


class VirtualBoxProvider:
    """See `provider.Provider`."""

    def __init__(
        self,
        record: MachineRecord,
        files: MachinePaths,
        *,
        choice: Choice,
        vagrant: VagrantRunner,
        emulated: bool | None,
    ) -> None:
        self._vm = record.vm_name
        self._files = files
        self._choice = choice
        self._tool = choice.tool
        self._vagrant = vagrant
        self.capabilities = Capabilities(save=True, emulated=emulated)

    @property
    def log(self) -> Path:
        return self._files.vagrant_log

    def check(self) -> None:
        hypervisor.check(self._choice)
        self._vagrant.check()

    def create(self) -> None:
        if self.state() is not MachineState.ABSENT and self._vagrant.is_known:
            self.delete(keep_data=True)  # left over from an `init` that was killed
        if self.state() is not MachineState.ABSENT:
            raise MachineProblem(
                f'the hypervisor already has a VM "{self._vm}"; remove it '
                f"(`VBoxManage unregistervm {self._vm} --delete`) or choose another name"
            )
        try:
            self._vagrant.up()
            if self.state() is MachineState.ABSENT:
                raise MachineProblem(f'Vagrant made no VM "{self._vm}"; see {self.log}', stage="vagrant")
        except BaseException as exc:
            try:
                self._unregister(keep_data=True)
            except MachineProblem as second:
                exc.add_note(f"and the half-made VM could not be removed: {second}")
            raise

    def start(self) -> None:
        state = self._settled()
        if state is MachineState.RUNNING:
            return
        if state is MachineState.PAUSED:
            self._tool.call("controlvm", self._vm, "resume")
            return
        if state is MachineState.ABSENT:
            raise MachineProblem(
                f'the hypervisor has no VM "{self._vm}" any more; `wherry machine rm` and '
                "`wherry machine init` make it again (--keep-data keeps the data disk)"
            )
        if state is MachineState.BROKEN:
            raise MachineProblem(
                f'the hypervisor cannot use the VM "{self._vm}": `wherry machine rm --keep-data`'
            )
        if state is not MachineState.SAVED:
            self._ensure_ssh_port()
            # What an earlier boot said must not pass for this one's ready line.
            self._files.serial_log.unlink(missing_ok=True)
        self._tool.call("startvm", self._vm, "--type", "headless")

    def stop(self, *, grace_seconds: float) -> bool:
        state = self._settled()
        if state is MachineState.PAUSED:
            self._tool.call("controlvm", self._vm, "resume")
        elif state is not MachineState.RUNNING:
            return False
        deadline = time.monotonic() + grace_seconds
        next_press: float | None = None
        while time.monotonic() < deadline:
            if next_press is None or time.monotonic() >= next_press:
                self._press_power_button(again=next_press is not None)
                next_press = time.monotonic() + PRESS_AGAIN_SECONDS
            time.sleep(POLL_SECONDS)
            if not self.state().is_on:
                return False
        self._power_off()
        return True

    def save(self) -> None:
        if self._settled() in (MachineState.RUNNING, MachineState.PAUSED):
            self._tool.call("controlvm", self._vm, "savestate", timeout_seconds=SAVE_SECONDS)

    def delete(self, *, keep_data: bool) -> None:
        if self._vagrant.is_known and self.state() is not MachineState.ABSENT:
            self._let_go_of_disks()
            self._vagrant.destroy()
        self._unregister(keep_data=keep_data)

    def state(self) -> MachineState:
        return self._tool.state(self._vm)

    def ssh_endpoint(self) -> SshEndpoint:
        endpoint = ssh_endpoint(self._tool.info(self._vm))
        if endpoint is None:
            raise MachineProblem(
                f'the VM "{self._vm}" has lost its forward to port 22: `wherry machine rm --keep-data`, then '
                "`wherry machine init`"
            )
        return endpoint

    def _settled(self) -> MachineState:
        """The state, once the VM is not on its way between two."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while (state := self.state()) is MachineState.BUSY:
            if time.monotonic() >= deadline:
                raise MachineProblem(
                    f'the VM "{self._vm}" has been between two states for {SETTLE_SECONDS:g} s; '
                    "`wherry machine rm --force --keep-data` removes it"
                )
            time.sleep(POLL_SECONDS)
        return state

    def _press_power_button(self, *, again: bool) -> None:
        """A press again may meet a VM that is just going off and takes no commands any more."""
        try:
            self._tool.call("controlvm", self._vm, "acpipowerbutton")
        except MachineProblem:
            if not again and self.state().is_on:
                raise

    def _power_off(self) -> None:
        """Cuts the power, of a VM in any state. One that stops by itself meanwhile is fine."""
        if not self.state().is_on:
            return
        try:
            self._tool.call("controlvm", self._vm, "poweroff")
        except MachineProblem:
            if self.state().is_on:
                raise
        self._settled()

    def _ensure_ssh_port(self) -> None:
        """Moves the SSH forward when another program took its port while the VM was off."""
        rule = ssh_rule(self._tool.info(self._vm))
        if rule is None or sshport.is_free(rule[2]):
            return
        name, host, _ = rule
        port = sshport.pick()
        self._tool.call("modifyvm", self._vm, "--natpf1", "delete", name)
        self._tool.call("modifyvm", self._vm, "--natpf1", f"{name},tcp,{host},{port},,22")
        self._vagrant.write_settings(port)

    def _let_go_of_disks(self) -> None:
        """Cuts the power and takes our disks off, in any state. Memory that was saved is given up: disks of a
        saved VM cannot be changed."""
        self._power_off()
        if self.state() is MachineState.SAVED:
            self._tool.call("discardstate", self._vm)
        self._detach(SEED_PORT)
        self._detach(DATA_PORT)

    def _detach(self, port: int) -> None:
        """Takes a disk of ours off the VM, so that deleting the VM cannot delete the disk's file."""
        attached = self._tool.info(self._vm).get(f"{STORAGE_CONTROLLER}-{port}-0", "none")
        if attached in ("none", "emptydrive"):
            return
        self._tool.call(
            "storageattach", self._vm, "--storagectl", STORAGE_CONTROLLER, "--port", str(port),
            "--device", "0", "--medium", "none",
        )  # fmt: skip

    def _unregister(self, *, keep_data: bool) -> None:
        """What Vagrant does not know about: a VM it never finished, the data disk's place on the books."""
        try:
            if self.state() is not MachineState.ABSENT:
                self._let_go_of_disks()
                self._tool.call("unregistervm", self._vm, "--delete")
        except NoSuchVm:
            pass  # gone in the meantime, as wanted
        for disk in (self._files.seed, self._files.data_disk):
            self._forget(disk)
        if not keep_data:
            self._files.data_disk.unlink(missing_ok=True)

    def _forget(self, disk: Path) -> None:
        """Takes a disk off the hypervisor's books, if it is on them; its file stays."""
        if str(disk) in self._tool.call("list", "hdds"):
            self._tool.call("closemedium", "disk", str(disk))
