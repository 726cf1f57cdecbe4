"""controlvm VM acpipowerbutton|poweroff|reset|pause|resume|savestate|natpfN ..."""

from __future__ import annotations

from vboxqemu import control, store
from vboxqemu.errors import NotSupported, Syntax
from vboxqemu.progress import Progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vboxqemu.schema import Vm

PLAIN: dict[str, Callable[[str, Vm], None]] = {
    "acpipowerbutton": control.power_button,
    "pause": control.pause,
    "reset": control.reset,
    "resume": control.resume,
}
WITH_PROGRESS: dict[str, Callable[[str, Vm], None]] = {
    "poweroff": control.power_off,
    "savestate": control.save,
}
#: VirtualBox has these; QEMU, or a VM without a screen, does not.
ELSEWHERE = frozenset(
    {
        "acpisleepbutton",
        "addencpassword",
        "clipboard",
        "draganddrop",
        "guestmemoryballoon",
        "keyboardputscancode",
        "keyboardputstring",
        "nic1",
        "plugcpu",
        "reboot",
        "recording",
        "screenshotpng",
        "setlinkstate1",
        "setvideomodehint",
        "shutdown",
        "teleport",
        "unplugcpu",
        "usbattach",
        "usbdetach",
        "vrde",
        "webcam",
    }
)


def run(verb: str, words: Sequence[str]) -> int:
    del verb
    if len(words) < 2:
        raise Syntax("Not enough parameters")
    folder, vm = store.find(words[0])
    action, arguments = words[1], list(words[2:])
    if action in ELSEWHERE:
        raise NotSupported(f"controlvm {action} is not supported on QEMU")
    change: Callable[[str, Vm], None] | None = PLAIN.get(action) or WITH_PROGRESS.get(action)
    if change is None and not action.startswith("natpf"):
        raise Syntax(f"Invalid parameter '{action}'")
    with store.locked(folder, vm["name"]):
        vm = store.load(folder) or vm
        if change is None:
            _forward(folder, vm, action, arguments)
        elif action in PLAIN:
            change(folder, vm)
        else:
            control.online(folder, vm)
            with Progress():
                change(folder, vm)
        store.touch(folder)
    return 0


def _forward(folder: str, vm: Vm, action: str, arguments: Sequence[str]) -> None:
    """natpfN RULE, natpfN delete NAME: on the running QEMU first, then in the record."""
    from vboxqemu import forwards

    number = forwards.nic_number(action.removeprefix("natpf"))
    nic = vm["nics"][number - 1]
    if not arguments:
        raise Syntax("Missing argument to natpf")
    control.online(folder, vm)
    if arguments[0] == "delete":
        if len(arguments) < 2:
            raise Syntax("Missing rule name to delete")
        rule = forwards.find(nic, arguments[1])
        control.remove_forward(folder, vm, number, rule)
        nic["forwards"].remove(rule)
    else:
        rule = forwards.parse(arguments[0])
        forwards.check_new(nic, rule)
        control.add_forward(folder, vm, number, rule)
        nic["forwards"].append(rule)
    store.save(folder, vm)
