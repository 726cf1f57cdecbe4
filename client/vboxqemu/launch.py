"""Starts a VM: fresh, or from its saved state. The caller holds the VM's lock."""

from __future__ import annotations

import os
import sys
import time

from vboxqemu import accel, argv, files, state, store, system, tools
from vboxqemu.errors import Hypervisor, ObjectState
from vboxqemu.qmp import Qmp

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess

    from vboxqemu.schema import Run, Saved, Vm

#: Seconds QEMU may take until its control socket answers; a busy host needs seconds.
ANSWER_S = 60.0
#: Seconds a saved state may take to load.
LOAD_S = 600.0
POLL_S = 0.02


def start(folder: str, vm: Vm) -> None:
    """Brings the VM to `running`. Raises ObjectState when it is not startable, Hypervisor with QEMU's
    words."""
    now = state.of(folder)
    if now not in state.STARTABLE:
        raise ObjectState(
            f"The machine '{vm['name']}' is already locked by a session (or being locked or unlocked); "
            f"it is {state.WORDS[now]}"
        )
    saved: Saved | None = files.read_json(os.path.join(folder, "saved.json"))
    if saved is None:
        _spawn(folder, vm, None)
        state.set_phase(folder, "running")
    else:
        _spawn(folder, vm, saved)
        _go_on(folder)


def _spawn(folder: str, vm: Vm, saved: Saved | None) -> None:
    """QEMU under its supervisor, up to the moment its control socket answers."""
    os.makedirs(os.path.join(folder, "Logs"), exist_ok=True)
    door, control = system.control_door()
    name, cpu = (saved["accel"], saved["cpu"]) if saved else accel.choose()
    state_file, incoming = _incoming(folder) if saved else (-1, "")
    try:
        words = argv.command_line(
            vm,
            qemu=tools.emulator(),
            accel=accel.OPTIONS[name],
            cpu=cpu,
            control=control,
            machine=saved["machine"] if saved else "pc",
            incoming=incoming,
            search=system.search_domains(),
        )
        run: Run = {
            "argv": words,
            "phase": "restoring" if saved else "starting",
            "qmp": door,
            "accel": name,
            "cpu": cpu,
            "at": store.now(),
        }
        _watch(folder, run, state_file)
    finally:
        if state_file >= 0:
            os.close(state_file)


def _incoming(folder: str) -> tuple[int, str]:
    """(descriptor to pass on or -1, QEMU's name for it). QEMU before 8.2 reads a file only by a
    descriptor."""
    path = os.path.join(folder, "state.bin")
    if not system.STATE_BY_DESCRIPTOR:
        return -1, f"file:{path}"
    descriptor = os.open(path, os.O_RDONLY)
    return descriptor, f"fd:{descriptor}"


def _watch(folder: str, run: Run, state_file: int) -> None:
    """Starts the supervisor with the lock `running` in its hands and waits for QEMU's answer."""
    lock = os.path.join(folder, "running")
    for stale in ("run.json", "exit.json", "qemu.pid", "qmp.sock"):
        if os.path.exists(os.path.join(folder, stale)):
            os.unlink(os.path.join(folder, stale))
    try:
        descriptor = files.acquire(lock, wait_s=5.0)
    except TimeoutError:
        raise ObjectState("an earlier QEMU of this machine has not ended yet; try again") from None
    log = os.path.join(folder, "Logs", "qemu.log")
    try:
        files.write_json(os.path.join(folder, "run.json"), run)
        log_start = os.path.getsize(log) if os.path.exists(log) else 0
        keep = [descriptor] + ([state_file] if state_file >= 0 else [])
        if sys.platform == "win32":
            files.release(descriptor)
            descriptor = -1
        supervisor = system.spawn(
            [*_python(), folder, *map(str, keep)],
            folder=folder,
            log=log,
            keep=keep,
        )
    finally:
        if descriptor >= 0:
            files.release(descriptor)
    _await_answer(folder, run["qmp"], supervisor, log, log_start)


def _python() -> list[str]:
    """This interpreter, without site packages, running the supervisor."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    code = f"import sys; sys.path.insert(0, {root!r}); from vboxqemu.supervisor import main; main()"
    return [sys.executable, "-I", "-S", "-c", code]


def _await_answer(
    folder: str, door: str, supervisor: subprocess.Popen[bytes], log: str, log_start: int
) -> None:
    deadline = time.monotonic() + ANSWER_S
    while True:
        ended = supervisor.poll() is not None
        try:
            Qmp(folder, door, timeout_s=ANSWER_S).close()
            return
        except Hypervisor:
            # Not listening yet, or gone: the supervisor's end tells which.
            if ended:
                _forget_run(folder)
                raise Hypervisor(f"QEMU did not start: {_complaint(log, log_start)}") from None
            if time.monotonic() >= deadline:
                raise Hypervisor(f"QEMU did not answer in {ANSWER_S:.0f} s; see {log}") from None
        time.sleep(POLL_S)


def _forget_run(folder: str) -> None:
    """A start that failed leaves the VM as it was: powered off or saved, not aborted."""
    os.unlink(os.path.join(folder, "run.json"))


def _complaint(log: str, start: int) -> str:
    """What QEMU said since `start`, on one line, without its own name in front."""
    with open(log, "rb") as file:
        file.seek(start)
        lines = file.read().decode(errors="replace").strip().splitlines()
    if not lines:
        return f"it said nothing; see {log}"
    return " | ".join(line.partition("qemu-system-x86_64: ")[2] or line for line in lines[-3:])


def _go_on(folder: str) -> None:
    """Waits until the saved state is loaded, forgets it, and lets the guest run.

    The order matters: saved.json goes before the guest's first step. Were it left and used a second time, the
    guest would meet disks that are newer than its memory.
    """
    run: Run = files.read_json(os.path.join(folder, "run.json"))
    try:
        with Qmp(folder, run["qmp"]) as qmp:
            _await_load(qmp)
            _forget_saved(folder)
            qmp.command("cont")
    except BaseException:
        if os.path.exists(os.path.join(folder, "saved.json")):
            _stop_failed_load(folder, run)
        raise
    state.set_phase(folder, "running")
    os.unlink(os.path.join(folder, "state.bin"))


def _await_load(qmp: Qmp) -> None:
    deadline = time.monotonic() + LOAD_S
    while time.monotonic() < deadline:
        status = qmp.command("query-status")["status"]
        if status not in ("inmigrate", "prelaunch"):
            return
        if qmp.command("query-migrate").get("status") == "failed":
            raise Hypervisor("QEMU could not load the saved state; `VBoxManage discardstate` gives it up")
        time.sleep(POLL_S)
    raise Hypervisor(f"the saved state was not loaded in {LOAD_S:.0f} s; is the disk very slow?")


def _forget_saved(folder: str) -> None:
    os.unlink(os.path.join(folder, "saved.json"))


def _stop_failed_load(folder: str, run: Run) -> None:
    from vboxqemu import control

    control.end_process(folder, run, polite_s=2.0)
    _forget_run(folder)
