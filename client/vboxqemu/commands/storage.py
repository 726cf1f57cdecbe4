"""storagectl VM --name NAME --add sata|ide [--controller CHIP] [--portcount N] [--bootable on|off] | --remove
| --rename storageattach VM --storagectl NAME --port N [--device N] --type hdd|dvddrive --medium
PATH|UUID|none|emptydrive"""

from __future__ import annotations

from vboxqemu import argv, images, media, options, state, store
from vboxqemu.errors import InvalidArgument, InvalidVmState, NotSupported, ObjectInUse, ObjectNotFound, Syntax

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from vboxqemu.schema import Attachment, Controller, Vm

CHIPS = {"sata": "IntelAhci", "ide": "PIIX4"}
PORTS = {"sata": argv.AHCI_PORTS, "ide": 2}
CONTROLLER_VALUES = {
    "--name": "name",
    "--add": "bus",
    "--controller": "chip",
    "--portcount": "ports",
    "--hostiocache": "cache",
    "--bootable": "bootable",
    "--rename": "rename",
}
ATTACH_VALUES = {
    "--storagectl": "controller",
    "--port": "port",
    "--device": "device",
    "--type": "kind",
    "--medium": "medium",
    "--comment": "comment",
    "--mtype": "mtype",
    "--setuuid": "uuid",
    "--nonrotational": "nonrotational",
    "--discard": "discard",
    "--hotpluggable": "hotpluggable",
}


def run(verb: str, words: Sequence[str]) -> int:
    values = CONTROLLER_VALUES if verb == "storagectl" else ATTACH_VALUES
    positional, found = options.parse(words, values, {"--remove": "remove"})
    folder, vm = store.find(options.one(positional, "VM name"))
    with store.locked(folder, vm["name"]):
        vm = store.load(folder) or vm
        _check_offline(folder, vm)
        if verb == "storagectl":
            _controller(vm, found)
        else:
            attach(vm, found)
        store.save(folder, vm)
    return 0


def _check_offline(folder: str, vm: Vm) -> None:
    now = state.of(folder)
    if now not in ("poweroff", "aborted"):
        raise InvalidVmState(
            f"The storage of machine '{vm['name']}' cannot be changed while it is {state.WORDS[now]}"
        )


def find(vm: Vm, name: str) -> Controller:
    """Raises ObjectNotFound."""
    for controller in vm["controllers"]:
        if controller["name"] == name:
            return controller
    raise ObjectNotFound(f"Could not find a storage controller named '{name}'")


def _controller(vm: Vm, found: dict[str, str]) -> None:
    name = found.get("name")
    if not name:
        raise Syntax("Storage controller name not specified")
    if "remove" in found:
        vm["controllers"].remove(find(vm, name))
        return
    if "bus" in found:
        _add(vm, name, found)
    controller = find(vm, name)
    if "rename" in found:
        controller["name"] = found["rename"]
    if "ports" in found:
        most = PORTS[controller["bus"]]
        controller["ports"] = options.whole_number(found["ports"], "port count", least=1, most=most)
    if "bootable" in found:
        controller["bootable"] = found["bootable"] == "on"


def _add(vm: Vm, name: str, found: dict[str, str]) -> None:
    bus = found["bus"]
    if bus not in CHIPS:
        raise NotSupported(f"Storage bus '{bus}' is not supported on QEMU (sata, ide)")
    if any(each["name"] == name or each["bus"] == bus for each in vm["controllers"]):
        raise ObjectInUse(f"Storage controller named '{name}', or one for {bus}, already exists")
    controller: Controller = {
        "name": name,
        "bus": bus,
        "chip": found.get("chip", CHIPS[bus]),
        "ports": PORTS[bus],
        "bootable": True,
        "attachments": [],
    }
    vm["controllers"].append(controller)


def attach(vm: Vm, found: dict[str, str]) -> None:
    """Puts a medium into a port, replacing what is there; "none" empties it."""
    controller = find(vm, found.get("controller", ""))
    most = PORTS[controller["bus"]]
    port = options.whole_number(found.get("port", "0"), "port", least=0, most=most - 1)
    devices = 1 if controller["bus"] == "sata" else 2
    device = options.whole_number(found.get("device", "0"), "device", least=0, most=devices - 1)
    before = [each for each in controller["attachments"] if (each["port"], each["device"]) == (port, device)]
    others = [each for each in controller["attachments"] if each not in before]
    medium = found.get("medium")
    if medium is None:
        raise Syntax("Missing --medium argument")
    if medium == "none":
        if not before:
            raise ObjectNotFound(
                f"No storage device attached to device slot {device} on port {port} "
                f"of controller '{controller['name']}'"
            )
        controller["attachments"] = others
        return
    kind = found.get("kind") or (before[0]["kind"] if before else "")
    if kind not in ("hdd", "dvddrive"):
        raise InvalidArgument(f"Invalid --type argument '{kind}' (hdd, dvddrive)")
    controller["attachments"] = [*others, _attachment(vm, port, device, kind, medium)]
    controller["ports"] = max(controller["ports"], port + 1)


def _attachment(vm: Vm, port: int, device: int, kind: str, medium: str) -> Attachment:
    if medium == "emptydrive":
        if kind != "dvddrive":
            raise InvalidArgument("Only a DVD drive can be empty; use --medium none to detach a disk")
        return {
            "port": port,
            "device": device,
            "kind": kind,
            "path": "",
            "file": "",
            "uuid": "",
            "format": "",
        }
    known = media.find(medium)
    strangers = [name for name, uuid in media.users(known["path"]) if uuid != vm["uuid"]]
    if strangers and kind == "hdd":
        raise ObjectInUse(
            f"Medium '{known['path']}' is already attached to the machine '{strangers[0]}'; "
            "detach it there first"
        )
    extent = images.flat_extent(known["path"])
    return {
        "port": port,
        "device": device,
        "kind": kind,
        "path": known["path"],
        "file": extent or known["path"],
        "uuid": known["uuid"],
        "format": "raw" if extent else known["format"],
    }
