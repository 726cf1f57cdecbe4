"""Reads an appliance description (OVF 1.0/2.0, as VirtualBox writes it) into what `import` needs.

Numbers of resource types: DMTF CIM_ResourceAllocationSettingData, ResourceType.
"""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from dataclasses import dataclass

from vboxqemu.errors import FileProblem

CPU, MEMORY, IDE, SCSI, NETWORK, DVD, DISK, SATA = 3, 4, 5, 6, 10, 15, 17, 20
CONTROLLER_KINDS = {IDE: "ide", SCSI: "scsi", SATA: "sata"}

#: OVF's allocation units -> bytes.
UNITS = {"byte": 1, "kilobytes": 1 << 10, "megabytes": 1 << 20, "gigabytes": 1 << 30}

#: What an OVF calls an adapter -> VBoxManage's name.
NIC_MODELS = {"pcnet32": "Am79C973", "e1000": "82540EM", "virtio": "virtio", "virtionet": "virtio"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Controller:
    instance: str
    kind: str  # "ide" | "scsi" | "sata"


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    disk_id: str
    href: str  # a plain file name beside the OVF
    capacity_bytes: int
    file_format: str
    parent: str  # the controller's instance
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Appliance:
    """One virtual system. controller_names: kind -> the name the exporter gave it (VirtualBox's own
    section)."""

    path: str
    name: str
    os_type: str
    description: str
    cpus: int
    memory_mib: int
    nic_models: tuple[str, ...]
    controllers: tuple[Controller, ...]
    disks: tuple[Disk, ...]
    controller_names: dict[str, str]


def read(path: str) -> Appliance:
    """Raises FileProblem: missing, not XML, no virtual system, or a disk file outside the OVF's folder."""
    try:
        root = ET.parse(path).getroot()  # noqa: S314 - expat bounds entity expansion; external entities are off
    except FileNotFoundError:
        raise FileProblem(f"Appliance '{path}' does not exist (VERR_FILE_NOT_FOUND)") from None
    except OSError as exc:
        raise FileProblem(f"Could not read '{path}': {exc.strerror}") from exc
    except ET.ParseError as exc:
        raise FileProblem(f'Error reading "{path}": {exc}; is this an OVF file?') from exc
    systems = [node for node in root.iter() if _local(node) == "VirtualSystem"]
    if not systems:
        raise FileProblem(f'Error reading "{path}": there is no VirtualSystem in it')
    return _system(path, root, systems[0])


def _local(node: ET.Element) -> str:
    """A tag without its name space: exporters differ in the OVF version they name there."""
    return node.tag.rpartition("}")[2]


def _attribute(node: ET.Element, name: str, default: str = "") -> str:
    for key, value in node.attrib.items():
        if key.rpartition("}")[2] == name:
            return value
    return default


def _text(node: ET.Element, name: str, default: str = "") -> str:
    for child in node:
        if _local(child) == name:
            return (child.text or "").strip()
    return default


def _number(text: str, default: int) -> int:
    try:
        return int(text)
    except ValueError:
        return default


def _system(path: str, root: ET.Element, system: ET.Element) -> Appliance:
    items = [node for node in system.iter() if _local(node) in ("Item", "StorageItem", "EthernetPortItem")]
    by_kind: dict[int, list[ET.Element]] = {}
    for item in items:
        by_kind.setdefault(_number(_text(item, "ResourceType"), 0), []).append(item)
    machine = next((node for node in system.iter() if _local(node) == "Machine"), None)
    return Appliance(
        path=path,
        name=_attribute(system, "id") or "vm",
        os_type=_os_type(system, machine),
        description=_annotation(system),
        cpus=max(1, sum(_number(_text(item, "VirtualQuantity"), 1) for item in by_kind.get(CPU, []))),
        memory_mib=_memory(by_kind.get(MEMORY, [])),
        nic_models=tuple(_nic_model(item) for item in by_kind.get(NETWORK, [])),
        controllers=tuple(
            Controller(instance=_text(item, "InstanceID"), kind=kind)
            for number, kind in CONTROLLER_KINDS.items()
            for item in by_kind.get(number, [])
        ),
        disks=tuple(_disks(path, root, by_kind.get(DISK, []))),
        controller_names=_controller_names(machine),
    )


def _os_type(system: ET.Element, machine: ET.Element | None) -> str:
    for node in system.iter():
        if _local(node) == "OSType" and node.text:
            return node.text.strip()
    return _attribute(machine, "OSType", "Other_64") if machine is not None else "Other_64"


def _annotation(system: ET.Element) -> str:
    section = next((node for node in system if _local(node) == "AnnotationSection"), None)
    return _text(section, "Annotation") if section is not None else ""


def _memory(items: list[ET.Element]) -> int:
    """In MiB; 512 when the OVF does not say."""
    total = 0
    for item in items:
        unit = _text(item, "AllocationUnits", "MegaBytes").lower().replace("byte * 2^20", "megabytes")
        total += _number(_text(item, "VirtualQuantity"), 0) * UNITS.get(unit, 1 << 20)
    return total >> 20 or 512


def _nic_model(item: ET.Element) -> str:
    return NIC_MODELS.get(_text(item, "ResourceSubType").lower(), "82540EM")


def _disks(path: str, root: ET.Element, items: list[ET.Element]) -> list[Disk]:
    hrefs = {
        _attribute(node, "id"): _attribute(node, "href") for node in root.iter() if _local(node) == "File"
    }
    described = {
        _attribute(node, "diskId"): node
        for section in root.iter()
        if _local(section) == "DiskSection"
        for node in section
        if _local(node) == "Disk"
    }
    disks = []
    for item in items:
        disk_id = _text(item, "HostResource").rpartition("/")[2]
        if disk_id not in described:
            raise FileProblem(
                f"Error reading \"{path}\": a hard disk item names the unknown disk '{disk_id}'"
            )
        node = described[disk_id]
        href = hrefs.get(_attribute(node, "fileRef"), "")
        if not href or href != os.path.basename(href) or "\\" in href:
            raise FileProblem(
                f"Error reading \"{path}\": disk '{disk_id}' is not a file beside the OVF: '{href}'"
            )
        unit = UNITS.get(_attribute(node, "capacityAllocationUnits", "byte").lower(), 1)
        disks.append(
            Disk(
                disk_id=disk_id,
                href=href,
                capacity_bytes=_number(_attribute(node, "capacity"), 0) * unit,
                file_format=_attribute(node, "format"),
                parent=_text(item, "Parent"),
                port=_number(_text(item, "AddressOnParent"), 0),
            )
        )
    return disks


def _controller_names(machine: ET.Element | None) -> dict[str, str]:
    if machine is None:
        return {}
    kinds = {
        "AHCI": "sata",
        "PIIX4": "ide",
        "PIIX3": "ide",
        "ICH6": "ide",
        "LsiLogic": "scsi",
        "BusLogic": "scsi",
    }
    return {
        kinds[_attribute(node, "type")]: _attribute(node, "name")
        for node in machine.iter()
        if _local(node) == "StorageController" and _attribute(node, "type") in kinds
    }
