"""The documents below VBOXQEMU_HOME. For the type checker and the reader only: never imported at run time.

Sizes carry their unit in the name. Paths are absolute. `options` keeps what VBoxManage lets one set and QEMU
has no use for, under the name VBoxManage prints, so that `showvminfo` gives back what was set.
"""

from typing import TypedDict


class Forward(TypedDict):
    """One NAT rule: host_ip:host_port on the host reaches guest_ip:guest_port ("" = as VirtualBox: any /
    DHCP's)."""

    name: str
    protocol: str  # "tcp" | "udp"
    host_ip: str
    host_port: int
    guest_ip: str
    guest_port: int


class Nic(TypedDict):
    kind: str  # "none" | "null" | "nat"
    model: str  # "82540EM" | "virtio" | "Am79C973"
    mac: str  # twelve upper-case hex digits, as VBoxManage prints it
    connected: bool
    forwards: list[Forward]


class Attachment(TypedDict):
    port: int
    device: int
    kind: str  # "hdd" | "dvddrive"
    path: str  # "" is an empty drive
    file: str  # what QEMU opens: path, or the data file of a flat VMDK pair
    uuid: str
    format: str  # QEMU's driver name: qcow2, vdi, vmdk, raw, vpc


class Controller(TypedDict):
    name: str
    bus: str  # "sata" | "ide"
    chip: str  # "IntelAhci" | "PIIX4"
    ports: int
    bootable: bool
    attachments: list[Attachment]


class Uart(TypedDict):
    io_base: int  # 0 is off
    irq: int
    mode: str  # "disconnected" | "file" | "server" | "client" | "tcpserver" | "tcpclient"
    target: str


class Snapshot(TypedDict):
    name: str
    uuid: str
    description: str
    taken_at: str


class Vm(TypedDict):
    """machines/<folder>/vm.json"""

    schema: int
    uuid: str
    name: str
    os_type: str
    cpus: int
    memory_mib: int
    vram_mib: int
    description: str
    options: dict[str, str]
    nics: list[Nic]
    controllers: list[Controller]
    uarts: list[Uart]
    extra: dict[str, str]
    properties: dict[str, str]
    snapshots: list[Snapshot]
    current_snapshot: str  # uuid or ""
    changed_at: str  # RFC 3339, UTC


class Run(TypedDict):
    """machines/<folder>/run.json: the QEMU process that was started last, and what we asked of it since."""

    argv: list[str]
    phase: str  # "starting" | "running" | "paused" | "saving" | "stopping" | "restoring"
    qmp: str  # "unix" (qmp.sock in the folder) or "tcp:<port>" on the loopback
    accel: str
    cpu: str
    at: str


class Exit(TypedDict):
    """machines/<folder>/exit.json: how that process ended, written by the supervisor."""

    clean: bool
    status: int  # as subprocess has it: negative is a signal
    at: str


class Saved(TypedDict):
    """machines/<folder>/saved.json: what is needed to go on from state.bin."""

    machine: str  # the versioned machine type, so that a newer QEMU still builds the same board
    accel: str
    cpu: str
    at: str


class Medium(TypedDict):
    uuid: str
    path: str
    format: str
    virtual_bytes: int
    variant: str
