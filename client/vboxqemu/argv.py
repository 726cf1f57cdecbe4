"""QEMU's command line for a VM: a pure function of the record, so that tests compare lists.

The board is `pc` (i440FX), as VirtualBox's default PIIX3 chipset, with an AHCI controller for "sata". Nothing
is there by default (-nodefaults): every device below is one that VirtualBox's VM would have too, plus a
random source, which spares the guest its wait for entropy at boot.
"""

from __future__ import annotations

import json
import re

from vboxqemu.errors import NotSupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from vboxqemu.schema import Attachment, Controller, Forward, Nic, Vm

#: VBoxManage's --nictype -> QEMU's device.
NIC_DEVICES = {
    "82540EM": "e1000",
    "82543GC": "e1000",
    "82545EM": "e1000-82545em",
    "Am79C970A": "pcnet",
    "Am79C973": "pcnet",
    "virtio": "virtio-net-pci",
}
#: QEMU's AHCI has six ports; VirtualBox's may have thirty.
AHCI_PORTS = 6
#: More than these no resolver had to heed, and they fill the lease. resolv.conf(5)
_MAX_SEARCH = 6
_DOMAIN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?")


def command_line(
    vm: Vm,
    *,
    qemu: str,
    accel: str,
    cpu: str,
    control: str,
    machine: str = "pc",
    incoming: str = "",
    search: Sequence[str] = (),
) -> list[str]:
    """All words. control: chardev options of the QMP socket. incoming: where a saved state comes from, or
    ''. search: the host's search domains, for the guests' leases."""
    argv = [
        qemu,
        "-name",
        f"guest={_escape(vm['name'])}",
        "-uuid",
        vm["uuid"],
        "-nodefaults",
        "-no-user-config",
    ]
    argv += ["-machine", f"{machine},usb=off", "-accel", accel, "-cpu", cpu]
    argv += ["-smp", str(vm["cpus"]), "-m", str(vm["memory_mib"])]
    # The guest sees UTC, and the clock chip goes on with the host's time while the VM is saved or paused.
    argv += ["-rtc", f"base={'utc' if _is_on(vm, 'rtcuseutc', 'on') else 'localtime'},clock=host"]
    argv += [
        "-display",
        "none",
        "-vga",
        "none" if vm["options"].get("graphicscontroller") == "none" else "std",
    ]
    argv += ["-chardev", control, "-mon", "chardev=qmp,mode=control"]
    argv += ["-object", "rng-builtin,id=rng", "-device", "virtio-rng-pci,rng=rng"]
    for index, controller in enumerate(vm["controllers"]):
        argv += _controller(index, controller)
    for index, nic in enumerate(vm["nics"]):
        passes = _is_on(vm, f"natdnspassdomain{index + 1}", "on")
        argv += _nic(index + 1, nic, search if passes else ())
    argv += _uarts(vm, append=bool(incoming))
    if incoming:
        argv += ["-S", "-incoming", incoming]
    return argv


def _escape(text: str) -> str:
    """A comma inside an option's value is written twice."""
    return text.replace(",", ",,")


def _is_on(vm: Vm, option: str, default: str) -> bool:
    return vm["options"].get(option, default) == "on"


def _controller(index: int, controller: Controller) -> list[str]:
    argv: list[str] = []
    if controller["bus"] == "sata":
        argv += ["-device", f"ich9-ahci,id=storage{index}"]
    for attachment in sorted(controller["attachments"], key=lambda each: (each["port"], each["device"])):
        argv += _drive(index, controller, attachment)
    return argv


def _drive(index: int, controller: Controller, attachment: Attachment) -> list[str]:
    port, device = attachment["port"], attachment["device"]
    node = f"disk{index}-{port}-{device}"
    if controller["bus"] == "sata":
        if port >= AHCI_PORTS:
            raise NotSupported(
                f"Port {port} of '{controller['name']}': QEMU's AHCI has ports 0 to {AHCI_PORTS - 1}"
            )
        place = f"bus=storage{index}.{port}"
    else:
        place = f"bus=ide.{port},unit={device}"
    model = "ide-cd" if attachment["kind"] == "dvddrive" else "ide-hd"
    if not attachment["path"]:
        return ["-device", f"{model},{place},id={node}"]
    blockdev: dict[str, Any] = {
        "node-name": node,
        "driver": attachment["format"],
        "read-only": attachment["kind"] == "dvddrive",
        "discard": "unmap",
        "file": {"driver": "file", "filename": attachment["file"]},
    }
    # The guest's own flushes decide what must be on the disk; the boot order is that of the ports.
    return [
        *("-blockdev", json.dumps(blockdev)),
        *(
            "-device",
            f"{model},{place},drive={node},id={node}-dev,bootindex={index * 100 + port * 2 + device + 1}",
        ),
    ]


def _nic(number: int, nic: Nic, search: Sequence[str]) -> list[str]:
    if nic["kind"] == "none":
        return []
    device = f"{NIC_DEVICES[nic['model']]},id=nic{number},mac={format_mac(nic['mac'])}"
    if nic["kind"] == "null":
        return [
            "-netdev",
            f"hubport,id=nat{number},hubid={number}",
            "-device",
            f"{device},netdev=nat{number}",
        ]
    # Addresses as VirtualBox's NAT gives them: 10.0.2.15 for the guest, gateway .2, name server .3.
    network = f"user,id=nat{number},ipv6=off,net=10.0.{number + 1}.0/24,dhcpstart=10.0.{number + 1}.15"
    rules = "".join(f",hostfwd={hostfwd(rule)}" for rule in nic["forwards"])
    domains = [each.rstrip(".") for each in search if _DOMAIN.fullmatch(each.rstrip("."))]
    names = "".join(f",dnssearch={each}" for each in domains[:_MAX_SEARCH])
    return ["-netdev", network + names + rules, "-device", f"{device},netdev=nat{number}"]


def format_mac(mac: str) -> str:
    """080027AABBCC -> 08:00:27:aa:bb:cc"""
    return ":".join(mac[at : at + 2] for at in range(0, 12, 2)).lower()


def hostfwd(rule: Forward) -> str:
    """QEMU's spelling of a NAT rule. Without an address VirtualBox would listen on all of the host's; here it
    is the loopback: a VM for development has no business on the network unless somebody says so (0.0.0.0)."""
    host_ip = rule["host_ip"] or "127.0.0.1"
    return f"{rule['protocol']}:{host_ip}:{rule['host_port']}-{rule['guest_ip']}:{rule['guest_port']}"


def _uarts(vm: Vm, *, append: bool) -> list[str]:
    """Serial ports. A file is emptied at a fresh start and appended to when a saved VM goes on."""
    argv: list[str] = []
    for index, uart in enumerate(vm["uarts"]):
        if not uart["io_base"]:
            continue
        name = f"uart{index + 1}"
        target = _escape(uart["target"])
        chardev = {
            "disconnected": f"null,id={name}",
            "file": f"file,id={name},path={target},append={'on' if append else 'off'}",
            "server": f"socket,id={name},path={target},server=on,wait=off",
            "client": f"socket,id={name},path={target}",
            "tcpserver": f"socket,id={name},host=127.0.0.1,port={target},server=on,wait=off",
        }.get(uart["mode"])
        if chardev is None:
            raise NotSupported(f"Serial port {index + 1}: mode '{uart['mode']}' is not supported on QEMU")
        argv += ["-chardev", chardev]
        argv += [
            "-device",
            f"isa-serial,chardev={name},iobase=0x{uart['io_base']:x},irq={uart['irq']},index={index}",
        ]
    return argv
