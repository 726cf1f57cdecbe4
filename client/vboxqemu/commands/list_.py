"""list [--long] [--sorted] WHAT"""

from __future__ import annotations

import sys

from vboxqemu import options, paths, state, store
from vboxqemu.errors import Syntax

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

#: Things VirtualBox lists and QEMU's user-mode network has none of: the answer is an empty list.
EMPTY = frozenset(
    {
        "bridgedifs",
        "cloudnets",
        "cloudproviders",
        "dhcpservers",
        "dvds",
        "extpacks",
        "floppies",
        "groups",
        "hostdvds",
        "hostfloppies",
        "hostonlyifs",
        "hostonlynets",
        "intnets",
        "natnets",
        "natnetworks",
        "usbfilters",
        "usbhost",
        "webcams",
    }
)

OS_TYPES = (
    ("Other_64", "Other/Unknown (64-bit)"),
    ("Linux_64", "Other Linux (64-bit)"),
    ("Debian_64", "Debian (64-bit)"),
    ("Ubuntu_64", "Ubuntu (64-bit)"),
)


def run(verb: str, words: Sequence[str]) -> int:
    del verb
    flags = {"--long": "long", "-l": "long", "--sorted": "sorted", "-s": "sorted"}
    positional, found = options.parse(words, {}, flags)
    what = options.one(positional, "subcommand")
    if what in EMPTY:
        return 0
    if what in ("vms", "runningvms"):
        _vms(running=what == "runningvms", long="long" in found, by_name="sorted" in found)
    elif what == "systemproperties":
        _system_properties()
    elif what == "hdds":
        _disks()
    elif what == "ostypes":
        sys.stdout.write(
            "".join(
                f"ID:          {name}\nDescription: {text}\n64 bit:      true\n\n" for name, text in OS_TYPES
            )
        )
    elif what == "hostinfo":
        _host_info()
    else:
        raise Syntax(f"Invalid parameter '{what}'")
    return 0


def _vms(*, running: bool, long: bool, by_name: bool) -> None:
    vms = list(store.walk())
    if by_name:
        vms.sort(key=lambda each: each[1]["name"])
    for folder, vm in vms:
        if running and state.of(folder) not in state.ONLINE:
            continue
        if long:
            from vboxqemu import showinfo

            sys.stdout.write(showinfo.for_people(folder, vm) + "\n")
        else:
            sys.stdout.write(f'"{vm["name"]}" {{{vm["uuid"]}}}\n')


def _system_properties() -> None:
    rows = [
        ("API version", "7_0"),
        ("Minimum guest RAM size", "4 Megabytes"),
        ("Maximum guest RAM size", "2097152 Megabytes"),
        ("Minimum guest CPU count", "1"),
        ("Maximum guest CPU count", "64"),
        ("Maximum PIIX3 Network Adapter count", str(store.NICS)),
        ("Maximum Serial Port count", str(store.UARTS)),
        ("Maximum SATA Port count", "6"),
        ("Default machine folder", paths.machines()),
        ("Default hard disk format", "VDI"),
        ("Exclusive HW virtualization use", "off"),
    ]
    sys.stdout.write("".join(f"{name + ':':<33}{value}\n" for name, value in rows))


def _disks() -> None:
    from vboxqemu.commands.medium import describe
    from vboxqemu.media import known

    sys.stdout.write("\n".join(describe(medium, brief=True) for medium in known().values()))


def _host_info() -> None:
    import os
    import platform

    from vboxqemu import accel

    name, cpu = accel.choose()
    sys.stdout.write(
        f"Host Information:\n\nProcessor online count: {os.cpu_count()}\n"
        f"Operating system: {platform.system()}\nOperating system version: {platform.release()}\n"
        f"QEMU acceleration: {name} (-cpu {cpu})\n"
    )
