"""Which acceleration works on this host, found by running a guest on it.

A device node or a flag proves little: /dev/kvm can be there while the host is itself a VM whose hypervisor
emulates what KVM needs badly or not at all. So a small guest does what a kernel does at boot (probe.S), once
emulated and once accelerated. Plain emulation does that in a tenth of a second, a sound KVM too; a host was
seen where KVM took 2 to 3.5 s for these 512 bytes, and a stock kernel then hung. Accelerated but slower than
emulation is no acceleration. What counts is processor time: a busy host makes both take seconds, and let a
KVM of the kind above pass.

The finding is kept in accel.json for as long as QEMU and the host's kernel stay the same, a failure for a day
at most (the host may just have been busy). A guest that the accelerator then gives up on is such a failure,
too (`distrust`). VBOXQEMU_ACCEL=kvm|hvf|whpx|tcg overrides all.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
import time

from vboxqemu import files, paths, probe, system, tools
from vboxqemu.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Seconds the probe's guest may take, QEMU's own start included.
PROBE_S = 10.0
#: Seconds of processor time that an accelerated one may use in any case.
QUICK_S = 0.5
#: How many times the emulated guest's processor time the accelerated one may use: both start QEMU.
RATIO = 3.0
#: Verdicts of another way to probe are found again.
METHOD = 3
#: Seconds a failed probe is believed.
FAILURE_LASTS_S = 24 * 3600.0
CANDIDATES = {"linux": "kvm", "darwin": "hvf", "win32": "whpx"}
#: QEMU's -accel option per name. Emulation runs each virtual CPU in a host thread of its own.
OPTIONS = {"kvm": "kvm", "hvf": "hvf", "whpx": "whpx,kernel-irqchip=off", "tcg": "tcg,thread=multi"}
#: The best CPU each can offer. Five-level page tables cost emulation at every miss and give a small guest
#: nothing.
CPUS = {"kvm": "host", "hvf": "host", "whpx": "max", "tcg": "max,la57=off"}


def choose() -> tuple[str, str]:
    """(name, cpu): the acceleration to start VMs with. Raises Hypervisor when QEMU is missing."""
    forced = os.environ.get("VBOXQEMU_ACCEL")
    if forced:
        if forced not in OPTIONS:
            raise InvalidArgument(f"VBOXQEMU_ACCEL is '{forced}'; use one of {', '.join(OPTIONS)}")
        return forced, CPUS[forced]
    qemu = tools.emulator()
    key = _key(qemu)
    path = os.path.join(paths.home(), "accel.json")
    known = _recall(path, key)
    if known is None:
        known, why = find_out(qemu)
        files.write_json(path, {"key": key, "accel": known, "why": why, "at": time.time()})
    return known, CPUS[known]


def _key(qemu: str) -> str:
    """Changes when the QEMU program or the host's kernel does; costs no process."""
    stat = os.stat(qemu)
    return f"{METHOD} {qemu} {stat.st_size} {stat.st_mtime_ns} {platform.release()} {platform.version()}"


def _recall(path: str, key: str) -> str | None:
    try:
        found: Any = files.read_json(path)
    except ValueError:
        return None  # half a file of an older version: find out again
    if not found or found["key"] != key:
        return None
    if found["accel"] == "tcg" and time.time() - found["at"] > FAILURE_LASTS_S:
        return None
    return str(found["accel"])


def find_out(qemu: str) -> tuple[str, str]:
    """(name, why): asks the host by running the probe's guest."""
    candidate = CANDIDATES.get(sys.platform)
    if candidate is None or platform.machine().lower() not in ("x86_64", "amd64"):
        return "tcg", f"no acceleration of x86 guests on {sys.platform} {platform.machine()}"
    if candidate == "kvm" and not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg", "/dev/kvm is missing, or this user may not use it (add the user to the group kvm)"
    begun = system.children_s()
    compared = try_guest(qemu, "tcg", PROBE_S) is None
    emulated_s = system.children_s() - begun
    begun = system.children_s()
    problem = try_guest(qemu, candidate, PROBE_S)
    used_s = system.children_s() - begun
    if problem is None and compared and used_s > max(QUICK_S, RATIO * emulated_s):
        problem = f"a test guest took {used_s:.1f} s of processor time, and {emulated_s:.1f} s emulated"
    return (candidate, "") if problem is None else ("tcg", f"{candidate}: {problem}")


def distrust(name: str, why: str) -> None:
    """Notes that the accelerator gave up on a real guest: the next start emulates."""
    verdict = {"key": _key(tools.emulator()), "accel": "tcg", "why": f"{name}: {why}", "at": time.time()}
    files.write_json(os.path.join(paths.home(), "accel.json"), verdict)


def try_guest(qemu: str, name: str, limit_s: float) -> str | None:
    """Runs the probe's guest for at most limit_s. Returns None when it came through, else what went wrong."""
    with tempfile.TemporaryDirectory(prefix="vboxqemu-") as folder:
        image = os.path.join(folder, "probe.img")
        with open(image, "wb") as file:
            file.write(probe.boot_sector())
        argv = [qemu, "-machine", "pc", "-accel", OPTIONS[name], "-cpu", CPUS[name], "-m", "32"]
        argv += ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
        argv += ["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]
        argv += ["-blockdev", f"raw,node-name=boot,file.driver=file,file.filename={image.replace(',', ',,')}"]
        argv += ["-device", "ide-hd,drive=boot"]
        try:
            done = subprocess.run(
                argv, capture_output=True, text=True, timeout=limit_s, check=False, errors="replace"
            )
        except subprocess.TimeoutExpired:
            return f"a test guest did not get through in {limit_s:.1f} s"
    if done.returncode == probe.EXIT_STATUS:
        return None
    lines = done.stderr.strip().splitlines()
    return lines[0] if lines else f"a test guest ended with {done.returncode}"
