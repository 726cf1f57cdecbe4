"""`machine stop`: the agent first, so that it does not take the end for a fault; then the VM."""

from wherry.agent import launch
from wherry.machine.guard import held
from wherry.machine.store import Machine

#: Seconds a guest has for a clean end before its power is cut.
GRACE_SECONDS = 30.0
EMULATED_GRACE_SECONDS = 90.0
LOCK_SECONDS = 60.0


def grace_for(machine: Machine) -> float:
    return GRACE_SECONDS if machine.provider.capabilities.emulated is False else EMULATED_GRACE_SECONDS


def shut_down(machine: Machine, *, save: bool, grace_seconds: float) -> bool:
    """Stops or saves the VM, and ends the agent. True when the power had to be cut.

    Raises MachineProblem. A machine that is off already is a success.
    """
    busy = f'another command is changing machine "{machine.name}"; try again when it is done'
    with held(machine.files.lock, wait_seconds=LOCK_SECONDS, busy=busy):
        launch.stop(machine.files)
        if save:
            machine.provider.save()
            return False
        return machine.provider.stop(grace_seconds=grace_seconds)
