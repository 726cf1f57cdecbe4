"""Which program answers to `VBoxManage`: Oracle's own where it is installed, else vboxqemu on QEMU."""

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import vboxqemu.errors
import vboxqemu.shim
import vboxqemu.tools
from wherry.config import Hypervisor
from wherry.errors import MissingTool, UsageProblem
from wherry.machine.vboxmanage import VBoxManage
from wherry.paths import Paths

#: Where VirtualBox's own installers put the command although PATH does not say so.
_INSTALLED = {
    "darwin": ("/usr/local/bin/VBoxManage", "/Applications/VirtualBox.app/Contents/MacOS/VBoxManage"),
    "win32": (r"C:\Program Files\Oracle\VirtualBox\VBoxManage.exe",),
}
INSTALL_VIRTUALBOX = (
    "VirtualBox is not installed: get it from virtualbox.org (`brew install --cask virtualbox` on macOS, "
    "`winget install Oracle.VirtualBox` on Windows), or install QEMU instead and leave the choice to wherry"
)


@dataclass(frozen=True, slots=True)
class Choice:
    """kind: whose VBoxManage. tool: how to call it. env: what Vagrant's environment needs to find it."""

    kind: Hypervisor
    tool: VBoxManage
    env: Mapping[str, str] = field(default_factory=dict)


def choose(wanted: Hypervisor | None) -> Hypervisor:
    """wanted, or WHERRY_HYPERVISOR, or VirtualBox if it is there, or vboxqemu. Raises UsageProblem."""
    named = os.environ.get("WHERRY_HYPERVISOR")
    if wanted is None and named:
        try:
            return Hypervisor(named)
        except ValueError as exc:
            raise UsageProblem(
                f"WHERRY_HYPERVISOR={named}: use one of {', '.join(Hypervisor)}, or unset it"
            ) from exc
    if wanted is not None:
        return wanted
    return Hypervisor.VIRTUALBOX if find_virtualbox() else Hypervisor.VBOXQEMU


def find_virtualbox() -> Path | None:
    """Oracle's VBoxManage, or None."""
    found = shutil.which("VBoxManage")
    candidates = [found] if found else []
    folder = os.environ.get("VBOX_MSI_INSTALL_PATH")
    if folder:
        candidates.append(str(Path(folder) / "VBoxManage.exe"))
    candidates.extend(_INSTALLED.get(sys.platform, ()))
    return next((Path(candidate) for candidate in candidates if Path(candidate).is_file()), None)


def open_hypervisor(kind: Hypervisor, places: Paths) -> Choice:
    """How to call that hypervisor. Raises MissingTool when VirtualBox is not installed.

    For vboxqemu this writes its VBoxManage into DATA/bin, where Vagrant finds it first on PATH.
    """
    if kind is Hypervisor.VIRTUALBOX:
        installed = find_virtualbox()
        if installed is None:
            raise MissingTool(INSTALL_VIRTUALBOX)
        return Choice(kind, VBoxManage(installed, {}))
    home = {"VBOXQEMU_HOME": str(places.vboxqemu)}
    places.bin.mkdir(parents=True, exist_ok=True)
    program = vboxqemu.shim.install(places.bin)
    path = f"{places.bin}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return Choice(kind, VBoxManage(program, home), {**home, "PATH": path})


def check(choice: Choice) -> None:
    """Raises MissingTool, in one sentence, unless the hypervisor's programs are installed."""
    if choice.kind is not Hypervisor.VBOXQEMU:
        return
    needs: tuple[Callable[[], str], ...] = (
        vboxqemu.tools.emulator,
        lambda: vboxqemu.tools.find("qemu-img"),
    )
    for need in needs:
        try:
            need()
        except vboxqemu.errors.VBoxError as exc:
            raise MissingTool(f"neither VirtualBox nor QEMU can run the machine: {exc}") from exc
