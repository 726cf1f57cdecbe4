"""modifyvm VM --OPTION VALUE ...

Options are compared without their inner dashes, so the old and the new spelling (--macaddress1,
--mac-address1) are one. Those that QEMU has no use for are checked, kept and shown again. All options are
checked before one is stored.
"""

from __future__ import annotations

from vboxqemu import forwards, state, store
from vboxqemu.argv import NIC_DEVICES
from vboxqemu.errors import InvalidArgument, InvalidVmState, NotSupported, ObjectState, Syntax
from vboxqemu.options import whole_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vboxqemu.schema import Nic, Vm

#: on/off settings that are kept.
SWITCHES = frozenset(
    [
        "accelerate2dvideo",
        "accelerate3d",
        "acpi",
        "apic",
        "audioin",
        "audioout",
        "audioenabled",
        "biosbootmenu",
        "biospxedebug",
        "hpet",
        "hwvirtex",
        "ioapic",
        "l1dflushonsched",
        "l1dflushonvmentry",
        "largepages",
        "longmode",
        "mdsclearonsched",
        "mdsclearonvmentry",
        "nestedhwvirt",
        "nestedpaging",
        "pae",
        "pagefusion",
        "recording",
        "rtcuseutc",
        "specctrl",
        "teleporter",
        "tracingenabled",
        "triplefaultreset",
        "usb",
        "usbehci",
        "usbohci",
        "usbxhci",
        "vrde",
        "vtxux",
        "vtxvpid",
        "x2apic",
        "bioslogofadein",
        "bioslogofadeout",
    ]
)
#: Settings with a free value that are kept.
WORDS = frozenset(
    [
        "audio",
        "audiocodec",
        "audiocontroller",
        "audiodriver",
        "autostartdelay",
        "biosapic",
        "bioslogodisplaytime",
        "bioslogoimagepath",
        "biossystemtimeoffset",
        "boot1",
        "boot2",
        "boot3",
        "boot4",
        "chipset",
        "clipboard",
        "clipboardmode",
        "cpuexecutioncap",
        "cpuprofile",
        "defaultfrontend",
        "draganddrop",
        "firmware",
        "graphicscontroller",
        "groups",
        "guestmemoryballoon",
        "hardwareuuid",
        "iconfile",
        "iommu",
        "keyboard",
        "monitorcount",
        "mouse",
        "paravirtdebug",
        "paravirtprovider",
        "processpriority",
        "snapshotfolder",
        "vmprocesspriority",
        "vrdeaddress",
        "vrdeport",
        "vrdeproperty",
    ]
)
#: Per adapter, kept as name + number.
NIC_SWITCHES = frozenset(
    ["natdnshostresolver", "natdnspassdomain", "natdnsproxy", "nataliasmode", "nictrace"]
)
NIC_WORDS = frozenset(
    [
        "nicbandwidthgroup",
        "nicbootprio",
        "nicpromisc",
        "nicproperty",
        "nicspeed",
        "natnet",
        "natsettings",
        "nictracefile",
    ]
)
#: Adapters this command cannot give.
OTHER_KINDS = frozenset({"bridged", "generic", "hostonly", "hostonlynet", "intnet", "natnetwork", "cloud"})
OTHER_KIND_OPTIONS = frozenset(
    [
        "bridgeadapter",
        "hostonlyadapter",
        "hostonlynet",
        "intnet",
        "natnetwork",
        "nicgenericdrv",
        "cloudnetwork",
    ]
)
UART_TARGETS = frozenset({"file", "server", "client", "tcpserver"})


def run(verb: str, words: Sequence[str]) -> int:
    del verb
    if not words:
        raise Syntax("VM name not specified")
    folder, vm = store.find(words[0])
    with store.locked(folder, vm["name"]):
        _check_mutable(folder, vm)
        vm = store.load(folder) or vm
        name = vm["name"]
        apply(vm, words[1:])
        if vm["name"] != name:
            store.check_name_free(vm)
        store.save(folder, vm)
    return 0


def _check_mutable(folder: str, vm: Vm) -> None:
    now = state.of(folder)
    if now in state.ONLINE:
        raise ObjectState(
            f"The machine '{vm['name']}' is already locked for a session (or being unlocked); it is {now}"
        )
    if now == "saved":
        raise InvalidVmState(
            "The machine is not mutable or running (state is Saved); start it or use discardstate"
        )


def apply(vm: Vm, words: Sequence[str]) -> None:
    """Changes the record by all options. Raises Syntax, InvalidArgument, NotSupported."""
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            raise Syntax(f"Invalid parameter '{word}'")
        name, equals, value = word[2:].partition("=")
        if equals:
            rest.insert(0, value)
        _one(vm, name.replace("-", "").lower(), word, rest)


def _one(vm: Vm, name: str, word: str, rest: list[str]) -> None:
    plain: dict[str, Callable[[str], None]] = {
        "name": lambda value: _set_name(vm, value),
        "ostype": lambda value: vm.__setitem__("os_type", value),
        "description": lambda value: vm.__setitem__("description", value),
        "memory": lambda value: vm.__setitem__(
            "memory_mib", whole_number(value, "memory", least=4, most=2097152)
        ),
        "cpus": lambda value: vm.__setitem__("cpus", whole_number(value, "cpus", least=1, most=64)),
        "vram": lambda value: vm.__setitem__("vram_mib", whole_number(value, "vram", least=0, most=256)),
    }
    base = name.rstrip("0123456789")
    number = name[len(base) :]
    if name in plain:
        plain[name](_value(word, rest))
    elif name in SWITCHES or (base in NIC_SWITCHES and number):
        vm["options"][name] = _switch(word, _value(word, rest))
    elif name in WORDS or (base in NIC_WORDS and number):
        vm["options"][name] = _value(word, rest)
    elif base in ("uart", "uartmode", "uarttype") and number:
        _uart(vm, base, number, word, rest)
    elif number and _nic(vm, base, number, word, rest):
        return
    else:
        raise Syntax(f"Unknown option: {word}")


def _value(word: str, rest: list[str]) -> str:
    if not rest:
        raise Syntax(f"Missing argument to '{word}'")
    return rest.pop(0)


def _switch(word: str, value: str) -> str:
    meaning = {
        "on": "on",
        "yes": "on",
        "true": "on",
        "1": "on",
        "off": "off",
        "no": "off",
        "false": "off",
        "0": "off",
    }
    if value.lower() not in meaning:
        raise InvalidArgument(f"Invalid argument '{value}' to {word}: on or off")
    return meaning[value.lower()]


def _set_name(vm: Vm, value: str) -> None:
    if not value or any(char in '"/\\\n' for char in value):
        raise InvalidArgument(f"Invalid machine name '{value}'")
    vm["name"] = value


def _nic(vm: Vm, base: str, number: str, word: str, rest: list[str]) -> bool:
    """Options of one network adapter. Returns False when the option is none."""
    if base in OTHER_KIND_OPTIONS:
        raise NotSupported(f"{word}: this command has NAT adapters only (--nic{number} nat)")
    setters: dict[str, Callable[[Nic, str], None]] = {"nic": _kind, "nictype": _model, "macaddress": _mac}
    if base not in (*setters, "cableconnected", "natpf"):
        return False
    nic = vm["nics"][forwards.nic_number(number) - 1]
    if base == "natpf":
        _natpf(nic, word, rest)
    elif base == "cableconnected":
        nic["connected"] = _switch(word, _value(word, rest)) == "on"
    else:
        setters[base](nic, _value(word, rest))
    return True


def _kind(nic: Nic, value: str) -> None:
    if value in OTHER_KINDS:
        raise NotSupported(
            f"Network adapter of type '{value}': this command has NAT adapters only (none, null, nat)"
        )
    if value not in ("none", "null", "nat"):
        raise InvalidArgument(f"Invalid type '{value}' of network adapter (none, null, nat)")
    nic["kind"] = value


def _model(nic: Nic, value: str) -> None:
    if value not in NIC_DEVICES:
        raise InvalidArgument(f"Invalid NIC type '{value}' ({', '.join(NIC_DEVICES)})")
    nic["model"] = value


def _mac(nic: Nic, value: str) -> None:
    mac = store.new_mac() if value == "auto" else value.replace(":", "").upper()
    if len(mac) != 12 or any(digit not in "0123456789ABCDEF" for digit in mac) or int(mac[:2], 16) & 1:
        raise InvalidArgument(
            f"Invalid MAC address '{value}': twelve hex digits of a unicast address, or auto"
        )
    nic["mac"] = mac


def _natpf(nic: Nic, word: str, rest: list[str]) -> None:
    value = _value(word, rest)
    if value == "delete":
        nic["forwards"].remove(forwards.find(nic, _value(word, rest)))
        return
    rule = forwards.parse(value)
    forwards.check_new(nic, rule)
    nic["forwards"].append(rule)


def _uart(vm: Vm, base: str, number: str, word: str, rest: list[str]) -> None:
    """--uart1 off | --uart1 0x3F8 4 | --uartmode1 disconnected | --uartmode1 file PATH | --uarttype1
    16550A"""
    if not 1 <= int(number) <= store.UARTS:
        raise Syntax(f"Invalid serial port '{number}' (1 to {store.UARTS})")
    uart = vm["uarts"][int(number) - 1]
    value = _value(word, rest)
    if base == "uarttype":
        if value not in ("16450", "16550A", "16750"):
            raise InvalidArgument(f"Invalid argument '{value}' to {word}")
    elif base == "uart":
        if value == "off":
            uart["io_base"] = uart["irq"] = 0
            return
        uart["io_base"] = whole_number(value, "I/O base", least=1, most=0xFFFF)
        uart["irq"] = whole_number(_value(word, rest), "IRQ", least=0, most=255)
    elif value == "disconnected":
        uart["mode"], uart["target"] = value, ""
    elif value in UART_TARGETS:
        import os

        target = _value(word, rest)
        uart["mode"] = value
        uart["target"] = target if value == "tcpserver" else os.path.abspath(target)
    else:
        raise InvalidArgument(
            f"Invalid argument '{value}' to {word} (disconnected, {', '.join(sorted(UART_TARGETS))})"
        )
