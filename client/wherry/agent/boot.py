"""Waiting for the guest: from the hypervisor's start to a host key that can be trusted."""

import asyncio
from collections.abc import Awaitable, Callable

from wherry.agent.events import Event
from wherry.errors import MachineProblem
from wherry.machine.record import write_text
from wherry.machine.serial import SerialReader
from wherry.machine.state import MachineState
from wherry.machine.store import Machine
from wherrywire.serialline import Booted, Ready

POLL_SECONDS = 0.03
#: A call of VBoxManage costs some tens of milliseconds of CPU: it is asked seldom while nothing happens.
STATE_SECONDS = 3.0


class GuestGone(Exception):  # noqa: N818 - not an error: machines are stopped all the time
    """The VM is off."""

    def __init__(self, state: MachineState) -> None:
        super().__init__(f"the VM is {state}")
        self.state = state


async def check_on(machine: Machine) -> None:
    """Raises GuestGone when the VM is off. A hypervisor that cannot say leaves the question open."""
    try:
        state = await asyncio.to_thread(machine.provider.state)
    except MachineProblem:
        return
    if not state.is_on:
        raise GuestGone(state)


async def learn_host_key(
    machine: Machine,
    *,
    resumed: bool,
    emit: Callable[..., None],
    pause: Callable[[float], Awaitable[None]],
) -> str:
    """The fingerprint of the guest's host key, from the serial line of this boot.

    resumed: the guest has booted before, so that no new line need come; the stored one is the answer then.
    pause: waits so many seconds, or ends the agent. Raises GuestGone, and MachineProblem when the guest's
    kernel has given up: no ready line will come then.
    """
    files = machine.files
    serial = SerialReader(files.serial_log)
    loop = asyncio.get_running_loop()
    next_state = loop.time() + STATE_SECONDS
    while True:
        for event in serial.poll():
            # What a resumed guest said long ago is no news, but still the truth about its key.
            if isinstance(event, Ready):
                write_text(files.known_host, event.host_key + "\n")
                if not resumed:
                    emit(Event.READY, host_key=event.host_key, version=event.version)
                return event.host_key
            if isinstance(event, Booted) and not resumed:
                emit(Event.BOOTED)
        if serial.panic:
            raise MachineProblem(f'the guest\'s kernel stopped with "{serial.panic}"')
        if resumed and files.known_host.exists():
            return files.known_host.read_text(encoding="ascii").strip()
        if loop.time() >= next_state:
            await check_on(machine)
            next_state = loop.time() + STATE_SECONDS
        await pause(POLL_SECONDS)
