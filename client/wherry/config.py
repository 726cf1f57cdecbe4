"""The user's defaults, from CONFIG/config.json. Loading, defaults and validation are three pure steps.

    {"machine": {"cpus": 2, "memory_mib": 2048, "disk_gib": 60, "hypervisor": "virtualbox", "box": "/path"}}

Every key may be missing. Options on the command line win over this file; this file wins over the
built-in defaults.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from wherry.errors import UsageProblem

#: Enough for a database and a build beside it; the host gives the pages only when the guest touches them.
DEFAULT_MEMORY_MIB = 2048
#: Sparse: the file grows with what is stored.
DEFAULT_DISK_GIB = 60
MAX_DEFAULT_CPUS = 4

#: key -> lowest allowed value. 512 MiB is what a Debian guest with the engine and one container needs.
MINIMUM: Mapping[str, int] = {"cpus": 1, "memory_mib": 512, "disk_gib": 1}


class Hypervisor(StrEnum):
    """Who answers to `VBoxManage`: Oracle's own, or our front end to QEMU."""

    VIRTUALBOX = "virtualbox"
    VBOXQEMU = "vboxqemu"


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineDefaults:
    """memory_mib in MiB, disk_gib in GiB. hypervisor None: found by looking. box None: the cached one."""

    cpus: int
    memory_mib: int
    disk_gib: int
    hypervisor: Hypervisor | None
    box: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    machine: MachineDefaults


def load(file: Path) -> Config:
    """The user's defaults; built-in ones when there is no file. Raises UsageProblem with every fault."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        text = "{}"
    try:
        document = json.loads(text)
    except ValueError as exc:
        raise UsageProblem(f"{file} is not JSON: {exc}; mend it or remove it") from exc
    problems = validate(document)
    if problems:
        raise UsageProblem(f"{file}: " + "; ".join(problems))
    return fill_defaults(document)


def validate(document: Any) -> list[str]:
    """All that is wrong with the document, each with the field and what it wants."""
    if not isinstance(document, dict):
        return ["wants an object at the top"]
    problems = [f"{key}: unknown; only machine is known" for key in document if key != "machine"]
    machine = document.get("machine", {})
    if not isinstance(machine, dict):
        return [*problems, "machine: wants an object"]
    for key, value in machine.items():
        field = f"machine.{key}"
        if key in MINIMUM:
            if not isinstance(value, int) or isinstance(value, bool) or value < MINIMUM[key]:
                problems.append(f"{field}: wants a whole number of at least {MINIMUM[key]}, not {value!r}")
        elif key == "hypervisor":
            if value not in tuple(Hypervisor):
                problems.append(f"{field}: wants one of {', '.join(Hypervisor)}, not {value!r}")
        elif key == "box":
            if not isinstance(value, str) or not value:
                problems.append(f"{field}: wants a path or URL")
        else:
            problems.append(f"{field}: unknown")
    return problems


def fill_defaults(document: Mapping[str, Any]) -> Config:
    """A valid document with what it leaves out."""
    machine: Mapping[str, Any] = document.get("machine", {})
    hypervisor = machine.get("hypervisor")
    return Config(
        machine=MachineDefaults(
            cpus=machine.get("cpus", min(MAX_DEFAULT_CPUS, os.cpu_count() or 1)),
            memory_mib=machine.get("memory_mib", DEFAULT_MEMORY_MIB),
            disk_gib=machine.get("disk_gib", DEFAULT_DISK_GIB),
            hypervisor=Hypervisor(hypervisor) if hypervisor else None,
            box=machine.get("box"),
        )
    )
