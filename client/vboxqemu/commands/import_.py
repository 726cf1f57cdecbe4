"""import OVF [-n|--dry-run] [--vsys 0 --vmname NAME --unit N --disk PATH --memory MB --cpus N ...]"""

from __future__ import annotations

import os
import sys

from vboxqemu import images, media, ovf, paths, store
from vboxqemu.errors import InvalidArgument, NotSupported, Syntax
from vboxqemu.options import whole_number
from vboxqemu.progress import Progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from vboxqemu.ovf import Appliance, Disk
    from vboxqemu.schema import Attachment, Vm

#: Options of the virtual system, by what they set.
SYSTEM = {
    "--vmname": "name",
    "--ostype": "os_type",
    "--memory": "memory",
    "--cpus": "cpus",
    "--description": "description",
    "--basefolder": "base_folder",
    "--settingsfile": "settings_file",
    "--group": "group",
    "--eula": "eula",
    "--options": "options",
    "--product": "product",
    "--vendor": "vendor",
    "--version": "version",
}
#: Fixed lines before adapters: OS type, name, group, settings file, base folder, CPUs, memory.
FIRST_UNIT = 7
CHIPS = {"sata": "IntelAhci", "ide": "PIIX4"}
NAMES = {"sata": "SATA Controller", "ide": "IDE Controller"}


def run(verb: str, words: Sequence[str]) -> int:
    del verb
    path, dry_run, chosen, units = _parse(words)
    appliance = ovf.read(os.path.abspath(path))
    vm = _vm(appliance, chosen)
    folder = store.folder_for(vm["name"])
    targets = _targets(appliance, folder, units)
    if "base_folder" in chosen or "settings_file" in chosen:
        raise NotSupported(f"VMs of this command live in {paths.machines()}; set VBOXQEMU_HOME to move it")
    if dry_run:
        with Progress():
            pass
        sys.stdout.write(_interpretation(appliance, vm, folder, targets))
        return 0
    with Progress() as at:
        sys.stdout.write(_interpretation(appliance, vm, folder, targets))
        sys.stdout.flush()
        at(10)
        _make(appliance, vm, folder, targets, at)
    sys.stdout.write("Successfully imported the appliance.\n")
    return 0


def _parse(words: Sequence[str]) -> tuple[str, bool, dict[str, str], dict[int, str | None]]:
    """(path, dry run, system settings, unit -> disk path or None for ignore). Options after --unit belong to
    it."""
    chosen: dict[str, str] = {}
    units: dict[int, str | None] = {}
    path, unit, dry_run = "", -1, False
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word in ("-n", "--dry-run", "-dry-run"):
            dry_run = True
            continue
        if word == "--ignore":
            units[unit] = None
            continue
        if not word.startswith("-"):
            if path:
                raise Syntax(f"Invalid parameter '{word}'")
            path = word
            continue
        name, equals, value = word.partition("=")
        if name not in SYSTEM and name not in ("--vsys", "--unit", "--disk", "--controller", "--port"):
            raise Syntax(f"Unknown option: {word}")
        if not equals:
            if not rest:
                raise Syntax(f"Missing argument to '{name}'")
            value = rest.pop(0)
        if name == "--vsys":
            if value != "0":
                raise InvalidArgument(f"Invalid virtual system '{value}': there is only 0")
        elif name == "--unit":
            unit = whole_number(value, "unit", least=0, most=999)
        elif name == "--disk":
            units[unit] = os.path.abspath(value)
        elif name in SYSTEM:
            chosen[SYSTEM[name]] = value
    if not path:
        raise Syntax("Not enough arguments for 'import' command: the appliance is missing")
    return path, dry_run, chosen, units


def _vm(appliance: Appliance, chosen: dict[str, str]) -> Vm:
    vm = store.new_vm(
        chosen.get("name") or _free_name(appliance.name), chosen.get("os_type", appliance.os_type)
    )
    vm["description"] = chosen.get("description", appliance.description)
    vm["cpus"] = whole_number(chosen.get("cpus", str(appliance.cpus)), "cpus", least=1, most=64)
    vm["memory_mib"] = whole_number(
        chosen.get("memory", str(appliance.memory_mib)), "memory", least=4, most=2097152
    )
    for index, model in enumerate(appliance.nic_models[: store.NICS]):
        vm["nics"][index]["model"] = model
    for controller in appliance.controllers:
        if controller.kind not in CHIPS:
            raise NotSupported(
                "SCSI controllers are not supported on QEMU; export the appliance with SATA disks"
            )
    return vm


def _free_name(name: str) -> str:
    """The appliance's own name, or name_1, name_2, ... when a VM has it."""
    taken = {vm["name"] for _, vm in store.walk()}
    free, number = name, 0
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free


def _disk_unit(appliance: Appliance, index: int) -> int:
    return FIRST_UNIT + len(appliance.nic_models) + len(appliance.controllers) + index


def _targets(appliance: Appliance, folder: str, units: dict[int, str | None]) -> list[str | None]:
    """Where each disk goes; None for one that is left out. Raises InvalidArgument for a unit that is no
    disk."""
    numbers = {_disk_unit(appliance, index): index for index in range(len(appliance.disks))}
    targets: list[str | None] = [os.path.join(folder, disk.href) for disk in appliance.disks]
    for unit, path in units.items():
        if unit not in numbers:
            raise InvalidArgument(f"Invalid unit {unit}: it is not a hard disk image")
        targets[numbers[unit]] = path
    return targets


def _interpretation(appliance: Appliance, vm: Vm, folder: str, targets: Sequence[str | None]) -> str:
    """VBoxManage's reading of the appliance. Vagrant takes name, folder and disk lines from it."""
    lines = [f"Interpreting {appliance.path}...", "OK.", "Disks:"]
    lines += [
        f"  {disk.disk_id}\t{disk.capacity_bytes}\t-1\t{disk.file_format}\t{disk.href}\t-1\t-1\t"
        for disk in appliance.disks
    ]
    lines += ["", "Virtual system 0:"]
    entries = [
        (f'Suggested OS type: "{vm["os_type"]}"', "--ostype <type>"),
        (f'Suggested VM name "{vm["name"]}"', "--vmname <name>"),
        ('Suggested VM group "/"', "--group <group>"),
        (f'Suggested VM settings file name "{os.path.join(folder, "vm.json")}"', "--settingsfile <filename>"),
        (f'Suggested VM base folder "{paths.machines()}"', "--basefolder <path>"),
        (f"Number of CPUs: {vm['cpus']}", "--cpus <n>"),
        (f"Guest memory: {vm['memory_mib']} MB", "--memory <MB>"),
    ]
    entries += [
        ("Network adapter: orig NAT, config 3, extra slot=0;type=NAT", "") for _ in appliance.nic_models
    ]
    entries += [
        (f"{each.kind.upper()} controller, type {CHIPS[each.kind]}", "") for each in appliance.controllers
    ]
    first = FIRST_UNIT + len(appliance.nic_models)
    parents = {each.instance: first + index for index, each in enumerate(appliance.controllers)}
    entries += [
        (
            f"Hard disk image: source image={disk.href}, target path={target or '(ignored)'}, "
            f"controller={parents.get(disk.parent, first)};port={disk.port}",
            f"--unit {_disk_unit(appliance, index)} --disk path",
        )
        for index, (disk, target) in enumerate(zip(appliance.disks, targets, strict=True))
    ]
    for number, (text, how) in enumerate(entries):
        lines.append(f"{number:2}: {text}")
        if how:
            lines.append(f'    (change with "--vsys 0 {how}")')
    return "\n".join(lines) + "\n"


def _make(appliance: Appliance, vm: Vm, folder: str, targets: Sequence[str | None], at: Progress) -> None:
    """Bases, overlays, record. What was made is removed again when a step fails."""
    store.create(folder, vm)
    made: list[str] = []
    try:
        attachments: dict[str, list[Attachment]] = {}
        for index, (disk, target) in enumerate(zip(appliance.disks, targets, strict=True)):
            if target is None:
                continue
            attachment = _disk(appliance, disk, target)
            made.append(target)
            attachments.setdefault(disk.parent, []).append(attachment)
            at(10 + 80 * (index + 1) // len(appliance.disks))
        for controller in appliance.controllers:
            held = attachments.get(controller.instance, [])
            vm["controllers"].append(
                {
                    "name": appliance.controller_names.get(controller.kind, NAMES[controller.kind]),
                    "bus": controller.kind,
                    "chip": CHIPS[controller.kind],
                    "ports": 2
                    if controller.kind == "ide"
                    else max((each["port"] + 1 for each in held), default=1),
                    "bootable": True,
                    "attachments": held,
                }
            )
        store.save(folder, vm)
    except BaseException:
        _undo(folder, made)
        raise


def _disk(appliance: Appliance, disk: Disk, target: str) -> Attachment:
    base = images.base_for(os.path.join(os.path.dirname(appliance.path), disk.href))
    images.overlay(target, base)
    size = images.info(target, "qcow2")["virtual-size"]
    medium = media.register(target, "qcow2", size_bytes=size)
    return {
        "port": disk.port,
        "device": 0,
        "kind": "hdd",
        "path": target,
        "file": target,
        "uuid": medium["uuid"],
        "format": "qcow2",
    }


def _undo(folder: str, made: Sequence[str]) -> None:
    import shutil

    for path in made:
        media.forget(path)
        if os.path.exists(path):
            os.unlink(path)
    shutil.rmtree(folder)
