"""Finding machines: the folders below DATA/machines that hold a machine.json."""

import json
from dataclasses import dataclass
from pathlib import Path

from wherry.config import Hypervisor
from wherry.errors import NoSuchMachine
from wherry.machine import hypervisor, record
from wherry.machine.provider import Provider
from wherry.machine.record import MachineRecord
from wherry.machine.vagrant import VagrantRunner
from wherry.machine.virtualbox import VirtualBoxProvider
from wherry.paths import MachinePaths, Paths


@dataclass(frozen=True, slots=True)
class Machine:
    record: MachineRecord
    files: MachinePaths
    provider: Provider

    @property
    def name(self) -> str:
        return self.record.name


def names(places: Paths) -> list[str]:
    """All machines, by name."""
    return sorted(file.parent.name for file in places.machines.glob("*/machine.json"))


def load(places: Paths, name: str) -> Machine:
    """Raises NoSuchMachine, or MachineProblem when the record is damaged."""
    files = places.machine(name)
    try:
        found = record.load(files.record)
    except FileNotFoundError as exc:
        known = names(places)
        option = "" if name == "default" else f" --name {name}"
        others = f"; there is {', '.join(known)}" if known else ""
        raise NoSuchMachine(
            f'there is no machine "{name}"{others}; `wherry machine init{option}` makes it'
        ) from exc
    return Machine(found, files, open_provider(places, found))


def open_provider(places: Paths, found: MachineRecord) -> Provider:
    """The provider of a machine. Raises MissingTool when its hypervisor has been uninstalled."""
    files = places.machine(found.name)
    choice = hypervisor.open_hypervisor(found.hypervisor, places)
    vagrant = VagrantRunner(found, files, home=places.vagrant_home, env=choice.env)
    return VirtualBoxProvider(
        found, files, choice=choice, vagrant=vagrant, emulated=_is_emulated(found.hypervisor, places)
    )


def _is_emulated(kind: Hypervisor, places: Paths) -> bool | None:
    """What vboxqemu's probe found; None before its first VM was started."""
    if kind is Hypervisor.VIRTUALBOX:
        return False
    probe = Path(places.vboxqemu) / "accel.json"
    try:
        found = json.loads(probe.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return str(found.get("accel", "")) == "tcg" if isinstance(found, dict) and "accel" in found else None
