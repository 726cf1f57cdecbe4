"""The process between a VM and the rest of the world: starts QEMU, waits for it, writes down how it ended.

Started detached by `launch.py` as `python -I -S ... FOLDER LOCK_DESCRIPTOR [STATE_DESCRIPTOR]`. It exists
because only a parent learns its child's exit status, and the difference between "the guest shut down" and
"somebody killed QEMU" is exactly that status. It and QEMU share the lock `running`; it lets go of it after
exit.json is written.

An accelerator that gives up on a guest ("KVM internal error") leaves it standing still for good, and nothing
else would ever tell. Such a guest is ended, and the accelerator is not chosen again soon.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from vboxqemu import accel, files, store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from vboxqemu.schema import Run

#: How QEMU begins its report. Source: QEMU, accel/kvm/kvm-all.c, kvm_handle_internal_error.
GIVEN_UP = b"KVM internal error"
#: A guest that got through its boot is taken for sound; until then the log is looked at this often.
WATCHED_S = 300.0
LOOK_S = 1.0


def main() -> None:
    folder = sys.argv[1]
    inherited = [int(word) for word in sys.argv[2:]]
    # At log-out or host shutdown everybody gets SIGTERM. QEMU ends by it; this process must live to say so.
    for name in ("SIGTERM", "SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if sys.platform == "win32":
        files.acquire(os.path.join(folder, "running"), wait_s=5.0)
    run = files.read_json(os.path.join(folder, "run.json"))
    log = os.path.join(folder, "Logs", "qemu.log")
    log_start = os.path.getsize(log)
    with open(log, "ab") as output:
        qemu = subprocess.Popen(
            run["argv"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=() if sys.platform == "win32" else inherited,
        )
    for descriptor in inherited[1:]:
        os.close(
            descriptor
        )  # the saved state: held open it would keep its room on the disk after it is deleted
    with open(os.path.join(folder, "qemu.pid"), "w", encoding="ascii") as file:
        file.write(str(qemu.pid))
    status = _wait(qemu, run, log, log_start)
    files.write_json(
        os.path.join(folder, "exit.json"),
        {"clean": status == 0 and not _was_terminated(log, log_start), "status": status, "at": store.now()},
    )


def _wait(qemu: subprocess.Popen[bytes], run: Run, log: str, log_start: int) -> int:
    """QEMU's exit status."""
    if run["accel"] != "tcg":
        looks = int(WATCHED_S / LOOK_S)
        for _ in range(looks):
            try:
                return qemu.wait(LOOK_S)
            except subprocess.TimeoutExpired:
                if GIVEN_UP in _said(log, log_start):
                    accel.distrust(run["accel"], "gave up on a guest (KVM internal error, see qemu.log)")
                    qemu.kill()
                    break
    return qemu.wait()


def _said(log: str, start: int) -> bytes:
    with open(log, "rb") as file:
        file.seek(start)
        return file.read()


def _was_terminated(log: str, start: int) -> bool:
    """QEMU exits with 0 on SIGTERM too, and says on its output that it was a signal."""
    return b"terminating on signal" in _said(log, start)


if __name__ == "__main__":
    main()
