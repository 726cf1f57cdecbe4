"""machine.json: what a machine was asked to be. Frozen data with one door in and one out.

States and addresses are not in here: they are asked of the hypervisor.
"""

import json
import os
import re
import tempfile
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from wherry.config import Hypervisor
from wherry.errors import MachineProblem, UsageProblem
from wherry.renaming import replace

SCHEMA = 1

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,39}")


def check_name(name: str) -> str:
    """The name, if a machine may have it. It becomes a folder, a VM's name and the guest's host name."""
    if not _NAME.fullmatch(name):
        raise UsageProblem(
            f'"{name}" cannot be a machine\'s name: use up to 40 letters, digits, "-" and "_", '
            "beginning with a letter or digit"
        )
    return name


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineRecord:
    """memory_mib in MiB, disk_gib in GiB (the data disk). ssh_port: the host's port asked for at creation.

    created: RFC 3339, UTC. version: of the client that made it. box_name: Vagrant's name for the box,
    made from box_sha256, so that another box never passes for it.
    """

    name: str
    created: str
    version: str
    hypervisor: Hypervisor
    cpus: int
    memory_mib: int
    disk_gib: int
    ssh_port: int
    box: str
    box_sha256: str
    schema: int = SCHEMA

    @property
    def vm_name(self) -> str:
        return f"wherry-{self.name}"

    @property
    def box_name(self) -> str:
        return f"wherry-{self.box_sha256[:16]}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Any, *, source: Path) -> "MachineRecord":
        """Raises MachineProblem when the document is not a record this version can read."""
        if not isinstance(document, dict) or document.get("schema") != SCHEMA:
            raise MachineProblem(
                f"{source} was not written by this version of wherry (schema {SCHEMA}); "
                "use the version that made the machine, or remove the file's folder"
            )
        wanted = {field.name for field in fields(cls)}
        missing = sorted(wanted - set(document))
        if missing:
            raise MachineProblem(f"{source} lacks {', '.join(missing)}; restore it or remove its folder")
        known = {key: value for key, value in document.items() if key in wanted}
        try:
            known["hypervisor"] = Hypervisor(known["hypervisor"])
        except ValueError as exc:
            raise MachineProblem(f"{source}: {exc}; restore it or remove its folder") from exc
        return cls(**known)


def load(file: Path) -> MachineRecord:
    """Raises FileNotFoundError, or MachineProblem when the file is damaged."""
    text = file.read_text(encoding="utf-8")
    try:
        document = json.loads(text)
    except ValueError as exc:
        raise MachineProblem(f"{file} is damaged: {exc}; restore it or remove its folder") from exc
    return MachineRecord.from_json(document, source=file)


def save(record: MachineRecord, file: Path) -> None:
    write_json(file, record.to_json())


def write_json(file: Path, document: Any) -> None:
    """See `write_text`."""
    write_text(file, json.dumps(document, indent=2) + "\n")


def write_text(file: Path, text: str) -> None:
    """Whole or not at all: written under another name, flushed to disk, renamed. Mode 0600."""
    descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as output:
            output.write(text)
            output.flush()
            os.fsync(output.fileno())
        replace(Path(temporary), file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
