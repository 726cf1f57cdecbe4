"""What `showvminfo` prints. Keys and their order are VirtualBox 7.0's, because programs read them."""

from __future__ import annotations

import os

from vboxqemu import state, store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from vboxqemu.schema import Controller, Nic, Vm

#: What VirtualBox prints for settings nobody changed. QEMU has no use for most; programs look for some of
#: them.
BEFORE_STATE = {
    "pagefusion": "off",
    "cpuexecutioncap": "100",
    "hpet": "off",
    "cpu-profile": "host",
    "chipset": "piix3",
    "firmware": "BIOS",
    "pae": "on",
    "longmode": "on",
    "triplefaultreset": "off",
    "apic": "on",
    "x2apic": "on",
    "nested-hw-virt": "off",
    "bootmenu": "messageandmenu",
    "boot1": "disk",
    "boot2": "dvd",
    "boot3": "none",
    "boot4": "none",
    "acpi": "on",
    "ioapic": "on",
    "biosapic": "apic",
    "rtcuseutc": "on",
    "hwvirtex": "on",
    "nestedpaging": "on",
    "largepages": "off",
    "vtxvpid": "on",
    "vtxux": "on",
    "paravirtprovider": "default",
}
AFTER_UARTS = {
    "audio": "none",
    "clipboard": "disabled",
    "draganddrop": "disabled",
    "vrde": "off",
    "usb": "off",
    "ehci": "off",
    "xhci": "off",
    "graphicscontroller": "vmsvga",
}
#: These are numbers: printed without quotes.
NUMBERS = frozenset({"cpuexecutioncap"})


def machine_readable(folder: str, vm: Vm) -> str:
    """All lines, each `key=value`, with a line end after each."""
    lines = _identity(folder, vm)
    lines += _options(vm, BEFORE_STATE)
    lines += [f'VMState="{state.of(folder)}"', f'VMStateChangeTime="{vm["changed_at"]}"']
    lines += _controllers(vm)
    for index, nic in enumerate(vm["nics"]):
        lines += _nic(index + 1, nic)
    lines += ['hidpointing="ps2mouse"', 'hidkeyboard="ps2kbd"']
    lines += _uarts(vm)
    lines += ['lpt1="off"', 'lpt2="off"']
    lines += _options(vm, AFTER_UARTS)
    known = BEFORE_STATE.keys() | AFTER_UARTS.keys()
    lines += [f'{name}="{value}"' for name, value in sorted(vm["options"].items()) if name not in known]
    if vm["description"]:
        lines += ["description=" + f'"{vm["description"]}"']
    lines += _snapshots(vm)
    return "\n".join(lines) + "\n"


def _identity(folder: str, vm: Vm) -> list[str]:
    return [
        f'name="{vm["name"]}"',
        'groups="/"',
        f'ostype="{vm["os_type"]}"',
        f'UUID="{vm["uuid"]}"',
        f'CfgFile="{store.record(folder)}"',
        f'SnapFldr="{os.path.join(folder, "Snapshots")}"',
        f'LogFldr="{os.path.join(folder, "Logs")}"',
        f'hardwareuuid="{vm["uuid"]}"',
        f"memory={vm['memory_mib']}",
        f"vram={vm['vram_mib']}",
        f"cpus={vm['cpus']}",
    ]


def _options(vm: Vm, defaults: dict[str, str]) -> list[str]:
    chosen = vm["options"]
    return [
        f"{name}={chosen.get(name, value)}" if name in NUMBERS else f'{name}="{chosen.get(name, value)}"'
        for name, value in defaults.items()
    ]


def _controllers(vm: Vm) -> list[str]:
    lines: list[str] = []
    for index, controller in enumerate(vm["controllers"]):
        most = 6 if controller["bus"] == "sata" else 2
        lines += [
            f'storagecontrollername{index}="{controller["name"]}"',
            f'storagecontrollertype{index}="{controller["chip"]}"',
            f'storagecontrollerinstance{index}="0"',
            f'storagecontrollermaxportcount{index}="{most}"',
            f'storagecontrollerportcount{index}="{controller["ports"]}"',
            f'storagecontrollerbootable{index}="{"on" if controller["bootable"] else "off"}"',
        ]
    for controller in vm["controllers"]:
        lines += _attachments(controller)
    return lines


def _attachments(controller: Controller) -> list[str]:
    name = controller["name"]
    taken = {(each["port"], each["device"]): each for each in controller["attachments"]}
    lines = []
    for port in range(controller["ports"]):
        for device in range(1 if controller["bus"] == "sata" else 2):
            attachment = taken.get((port, device))
            if attachment is None:
                lines.append(f'"{name}-{port}-{device}"="none"')
            elif not attachment["path"]:
                lines.append(f'"{name}-{port}-{device}"="emptydrive"')
            else:
                lines.append(f'"{name}-{port}-{device}"="{attachment["path"]}"')
                lines.append(f'"{name}-ImageUUID-{port}-{device}"="{attachment["uuid"]}"')
    return lines


def _nic(number: int, nic: Nic) -> list[str]:
    if nic["kind"] == "none":
        return [f'nic{number}="none"']
    lines = [f'natnet{number}="nat"'] if nic["kind"] == "nat" else []
    lines += [
        f'macaddress{number}="{nic["mac"]}"',
        f'cableconnected{number}="{"on" if nic["connected"] else "off"}"',
        f'nic{number}="{nic["kind"]}"',
        f'nictype{number}="{nic["model"]}"',
        f'nicspeed{number}="0"',
    ]
    lines += [
        f'Forwarding({index})="{rule["name"]},{rule["protocol"]},{rule["host_ip"]},{rule["host_port"]},'
        f'{rule["guest_ip"]},{rule["guest_port"]}"'
        for index, rule in enumerate(nic["forwards"])
    ]
    return lines


def _uarts(vm: Vm) -> list[str]:
    lines = []
    for index, uart in enumerate(vm["uarts"], 1):
        if not uart["io_base"]:
            lines.append(f'uart{index}="off"')
            continue
        target = f",{uart['target']}" if uart["target"] else ""
        lines.append(f'uart{index}="0x{uart["io_base"]:04x},{uart["irq"]}"')
        lines.append(f'uartmode{index}="{uart["mode"]}{target}"')
        lines.append(f'uarttype{index}="16550A"')
    return lines


def _snapshots(vm: Vm) -> list[str]:
    from vboxqemu.commands.snapshot import listing

    return listing(vm, machine_readable=True) if vm["snapshots"] else []


def for_people(folder: str, vm: Vm) -> str:
    """The same facts as a page to read."""
    rows = [
        ("Name", vm["name"]),
        ("Guest OS", vm["os_type"]),
        ("UUID", vm["uuid"]),
        ("Config file", store.record(folder)),
        ("Log folder", os.path.join(folder, "Logs")),
        ("Memory size", f"{vm['memory_mib']}MB"),
        ("Number of CPUs", str(vm["cpus"])),
        ("State", f"{state.WORDS[state.of(folder)]} (since {vm['changed_at']})"),
    ]
    for controller in vm["controllers"]:
        rows.append(("Storage Controller", f"'{controller['name']}', {controller['chip']}"))
        rows += [
            (
                f"{controller['name']} ({each['port']}, {each['device']})",
                f"{each['path'] or 'Empty'} (UUID: {each['uuid']})",
            )
            for each in controller["attachments"]
        ]
    for index, nic in enumerate(vm["nics"], 1):
        if nic["kind"] == "none":
            rows.append((f"NIC {index}", "disabled"))
            continue
        rows.append(
            (f"NIC {index}", f"MAC: {nic['mac']}, Attachment: {nic['kind'].upper()}, Type: {nic['model']}")
        )
        rows += [
            (
                f"NIC {index} Rule({at})",
                f"  name = {rule['name']}, protocol = {rule['protocol']}, host ip = {rule['host_ip']}, "
                f"host port = {rule['host_port']}, guest ip = {rule['guest_ip']}, "
                f"guest port = {rule['guest_port']}",
            )
            for at, rule in enumerate(nic["forwards"])
        ]
    for index, uart in enumerate(vm["uarts"], 1):
        what = (
            f"I/O base: 0x{uart['io_base']:04x}, IRQ: {uart['irq']}, {uart['mode']} {uart['target']}".rstrip()
        )
        rows.append((f"UART {index}", what if uart["io_base"] else "disabled"))
    if vm["description"]:
        rows.append(("Description", vm["description"]))
    return "".join(f"{name + ':':<29}{value}\n" for name, value in rows)
