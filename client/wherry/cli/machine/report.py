"""What can be said about a machine now: record, the hypervisor's state, what its agent says."""

from typing import Any

from wherry.agent import control, launch
from wherry.errors import MachineProblem, WherryError
from wherry.machine import store
from wherry.machine.state import MachineState
from wherry.machine.store import Machine
from wherry.paths import paths


def agent_says(machine: Machine) -> dict[str, Any] | None:
    """The agent's own account; None when there is no agent, an "error" when it hangs."""
    if not launch.is_alive(machine.files):
        return None
    try:
        return control.ask(machine.files, {"do": "status"})
    except MachineProblem as exc:
        return {"error": str(exc)}


def summary(machine: Machine) -> dict[str, Any]:
    """The state is the hypervisor's. engine: whether it can be talked to, in a word."""
    state = machine.provider.state()
    agent = agent_says(machine) if state.is_on else None
    return {
        "name": machine.name,
        "state": state,
        "engine": _engine(state, agent),
        "endpoint": machine.files.endpoint,
        "cpus": machine.record.cpus,
        "memory_mib": machine.record.memory_mib,
        "disk_gib": machine.record.disk_gib,
        "hypervisor": machine.record.hypervisor,
        "agent": agent,
    }


def _engine(state: MachineState, agent: dict[str, Any] | None) -> str:
    if not state.is_on:
        return "off"
    if agent is None:
        return "unreachable"  # `wherry machine start` makes a new agent
    return str(agent.get("phase", "unreachable"))


def all_summaries() -> list[dict[str, Any]]:
    """Every machine. One that cannot be read is listed with its error, not left out."""
    places = paths()
    found = []
    for name in store.names(places):
        try:
            found.append(summary(store.load(places, name)))
        except WherryError as exc:
            found.append({"name": name, "state": MachineState.BROKEN, "engine": "off", "error": str(exc)})
    return found
