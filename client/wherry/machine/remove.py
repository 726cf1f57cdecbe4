"""`machine rm`: the VM, its disks and its folder; works on whatever an interrupted command left."""

from wherry.errors import MachineProblem, UsageProblem
from wherry.machine.create import clear_folder
from wherry.machine.state import MachineState
from wherry.machine.store import Machine


def remove(machine: Machine, *, force: bool, keep_data: bool) -> None:
    """Raises UsageProblem when the VM is on, or saved with data to be kept, and force is not given. The
    caller holds the machine's lock and has ended the agent.
    """
    state = machine.provider.state()
    if state.is_on and not force:
        refuse_running(machine)
    if state is MachineState.SAVED and keep_data and not force:
        # What the guest has not written to its disk yet is in the memory that goes.
        raise UsageProblem(
            f'machine "{machine.name}" is saved, and its memory would be lost; start and stop it first, or '
            "remove it all the same with --force"
        )
    machine.provider.delete(keep_data=keep_data)
    if machine.provider.state() is not MachineState.ABSENT:
        raise MachineProblem(
            f'the hypervisor still has the VM of "{machine.name}"; see {machine.provider.log}'
        )
    clear_folder(machine.files, keep_data=keep_data)


def refuse_running(machine: Machine) -> None:
    option = "" if machine.name == "default" else f" --name {machine.name}"
    raise UsageProblem(
        f'machine "{machine.name}" is running; stop it first with `wherry machine stop{option}`, '
        "or remove it all the same with --force"
    )
