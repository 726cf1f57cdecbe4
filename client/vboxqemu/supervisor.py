"""The process between a VM and the rest of the world: starts QEMU, waits for it, writes down how it ended.

Started detached by `launch.py` as `python -I -S ... FOLDER LOCK_DESCRIPTOR [STATE_DESCRIPTOR]`. It exists
because only a parent learns its child's exit status, and the difference between "the guest shut down" and
"somebody killed QEMU" is exactly that status. It and QEMU share the lock `running`; it lets go of it after
exit.json is written.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from vboxqemu import files, store


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
    status = qemu.wait()
    files.write_json(
        os.path.join(folder, "exit.json"),
        {"clean": status == 0 and not _was_terminated(log, log_start), "status": status, "at": store.now()},
    )


def _was_terminated(log: str, start: int) -> bool:
    """QEMU exits with 0 on SIGTERM too, and says on its output that it was a signal."""
    with open(log, "rb") as file:
        file.seek(start)
        return b"terminating on signal" in file.read()


if __name__ == "__main__":
    main()
