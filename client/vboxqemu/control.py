"""What can be asked of a running VM: power button, power off, reset, pause, save. The caller holds the VM's
lock."""

from __future__ import annotations

import os
import time

from vboxqemu import files, state, store, system
from vboxqemu.errors import Hypervisor, InvalidVmState
from vboxqemu.qmp import Qmp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from vboxqemu.schema import Forward, Run, Saved, Vm

#: Seconds QEMU gets to end by itself before it is killed.
QUIT_S = 10.0
#: Seconds writing the saved state may take.
SAVE_S = 600.0
POLL_S = 0.02


def online(folder: str, vm: Vm) -> Run:
    """The run of a VM that has a QEMU. Raises InvalidVmState in VBoxManage's words when it has none."""
    now = state.of(folder)
    if now not in state.ONLINE:
        raise InvalidVmState(f"Machine '{vm['name']}' is not currently running (it is {state.WORDS[now]})")
    run: Run = files.read_json(os.path.join(folder, "run.json"))
    # The caller holds the lock, so a phase between two states is left over from a command that was killed.
    run["phase"] = state.ORPHANED.get(run["phase"], run["phase"])
    return run


def power_button(folder: str, vm: Vm) -> None:
    with Qmp(folder, online(folder, vm)["qmp"]) as qmp:
        qmp.command("system_powerdown")


def reset(folder: str, vm: Vm) -> None:
    with Qmp(folder, online(folder, vm)["qmp"]) as qmp:
        qmp.command("system_reset")


def pause(folder: str, vm: Vm) -> None:
    run = online(folder, vm)
    if run["phase"] != "running":
        raise InvalidVmState(
            f"Cannot pause the machine as it is not running (it is {state.WORDS[run['phase']]})"
        )
    with Qmp(folder, run["qmp"]) as qmp:
        qmp.command("stop")
    state.set_phase(folder, "paused")


def resume(folder: str, vm: Vm) -> None:
    run = online(folder, vm)
    if run["phase"] != "paused":
        raise InvalidVmState(
            f"Cannot resume the machine as it is not paused (it is {state.WORDS[run['phase']]})"
        )
    with Qmp(folder, run["qmp"]) as qmp:
        # Left by a save or a start that was killed: once the guest goes on it must not be resumed from.
        for stale in ("saved.json", "state.bin"):
            if os.path.exists(os.path.join(folder, stale)):
                os.unlink(os.path.join(folder, stale))
        qmp.command("cont")
    state.set_phase(folder, "running")


def power_off(folder: str, vm: Vm) -> None:
    """Pulls the plug. QEMU flushes its disks; one that does not answer is killed."""
    run = online(folder, vm)
    state.set_phase(folder, "stopping")
    end_process(folder, run, polite_s=QUIT_S)


def end_process(folder: str, run: Run, *, polite_s: float) -> None:
    """Ends QEMU: `quit`, then SIGKILL after polite_s seconds. Returns when QEMU and its supervisor are
    gone."""
    try:
        with Qmp(folder, run["qmp"], timeout_s=polite_s) as qmp:
            qmp.command("quit")
    except Hypervisor:
        # It hung up before answering (then it is ending), or it does not answer (then the wait below runs
        # out).
        pass
    if _gone(folder, polite_s):
        return
    with open(os.path.join(folder, "qemu.pid"), encoding="ascii") as file:
        system.kill(int(file.read()))
    if not _gone(folder, QUIT_S):
        raise Hypervisor(f"QEMU could not be ended; see {os.path.join(folder, 'Logs', 'qemu.log')}")


def _gone(folder: str, wait_s: float) -> bool:
    deadline = time.monotonic() + wait_s
    while state.is_alive(folder):
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_S)
    return True


def save(folder: str, vm: Vm) -> None:
    """Writes memory and devices to state.bin and ends QEMU; `launch.start` goes on from there.

    The guest is stopped first, so each page is written once. saved.json is written when everything else is on
    the disk: a crash at any earlier moment leaves a VM that is `aborted`, never one that resumes from half a
    state.
    """
    run = online(folder, vm)
    if run["phase"] not in ("running", "paused"):
        raise InvalidVmState(f"Cannot save the machine's state: it is {state.WORDS[run['phase']]}")
    before = run["phase"]
    state.set_phase(folder, "saving")
    path = os.path.join(folder, "state.bin")
    try:
        with Qmp(folder, run["qmp"]) as qmp:
            machine = str(qmp.command("qom-get", {"path": "/machine", "property": "type"})).removesuffix(
                "-machine"
            )
            qmp.command("stop")
            try:
                _write_state(qmp, path)
            except BaseException:
                if before == "running":
                    qmp.command("cont")
                raise
    except BaseException:
        state.set_phase(folder, before)
        if os.path.exists(path):
            os.unlink(path)
        raise
    saved: Saved = {"machine": machine, "accel": run["accel"], "cpu": run["cpu"], "at": store.now()}
    files.write_json(os.path.join(folder, "saved.json"), saved)
    end_process(folder, run, polite_s=QUIT_S)
    os.unlink(os.path.join(folder, "run.json"))


def _write_state(qmp: Qmp, path: str) -> None:
    # The default of 128 MiB/s is meant for a network; this is a local file.
    qmp.command("migrate-set-parameters", {"max-bandwidth": 1 << 40, "downtime-limit": 1000})
    if not system.STATE_BY_DESCRIPTOR:
        qmp.command("migrate", {"uri": f"file:{path}"})
        _await_saved(qmp)
        return
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        qmp.command("getfd", {"fdname": "state"}, descriptor=descriptor)
        qmp.command("migrate", {"uri": "fd:state"})
        _await_saved(qmp)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _await_saved(qmp: Qmp) -> None:
    deadline = time.monotonic() + SAVE_S
    while True:
        status = qmp.command("query-migrate")
        if status.get("status") == "completed":
            return
        if status.get("status") in ("failed", "cancelled"):
            raise Hypervisor(f"QEMU could not save the state: {status.get('error-desc', status['status'])}")
        if time.monotonic() >= deadline:
            qmp.command("migrate_cancel")
            raise Hypervisor(
                f"saving the state took more than {SAVE_S:.0f} s and was given up; is the disk full?"
            )
        time.sleep(POLL_S)


def add_forward(folder: str, vm: Vm, nic: int, rule: Forward) -> None:
    """A NAT rule on the running VM. Raises Hypervisor when the host's port is taken."""
    from vboxqemu.argv import hostfwd

    with Qmp(folder, online(folder, vm)["qmp"]) as qmp:
        complaint = qmp.human(f"hostfwd_add nat{nic} {hostfwd(rule)}")
    if complaint:
        raise Hypervisor(
            f"NAT rule '{rule['name']}' cannot be used: {complaint} "
            f"(is port {rule['host_port']} taken on this host?)"
        )


def remove_forward(folder: str, vm: Vm, nic: int, rule: Forward) -> None:
    from vboxqemu.argv import hostfwd

    source = hostfwd(rule).rpartition("-")[0]
    with Qmp(folder, online(folder, vm)["qmp"]) as qmp:
        answer = qmp.human(f"hostfwd_remove nat{nic} {source}")
    if "removed" not in answer:
        raise Hypervisor(f"NAT rule '{rule['name']}' could not be removed: {answer}")
