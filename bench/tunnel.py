"""The agent's tunnel against `ssh -L`: same guest, same cipher family, in turn."""

import contextlib
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench.engines import busybox_tar
from bench.figures import Figure, in_turn, seconds, table
from bench.vm import Machine

TRIPS = 30
TRANSFERS = 5
TRANSFER_MIB = 64
PORT = 19000
SSH_PORT = 19001
READY_SECONDS = 30
PING = b"GET /_ping HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n\r\n"


def round_trip(path: Path) -> float:
    """Milliseconds from dialling a unix socket to the end of the engine's answer to /_ping."""

    def ask() -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(READY_SECONDS)
            connection.connect(str(path))
            connection.sendall(PING)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 200"), answer[:80]

    return 1000 * seconds(ask)


def throughput(port: int) -> float:
    """MB/s of what the container's server sends through a loopback port."""
    received = 0
    begin = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), timeout=READY_SECONDS) as connection:
        while data := connection.recv(1 << 20):
            received += len(data)
    assert received == TRANSFER_MIB << 20, f"{received} bytes of {TRANSFER_MIB << 20}"
    return received / 1e6 / (time.perf_counter() - begin)


@contextlib.contextmanager
def ssh_forwards(machine: Machine, folder: Path) -> Iterator[Path]:
    """OpenSSH's own forwards to the engine's socket and to the container's port."""
    ssh = machine.inspect()["ssh"]
    local = folder / "ssh.sock"
    command = [
        "ssh", "-N", "-i", ssh["private_key"], "-p", str(ssh["port"]), "-c", "aes128-gcm@openssh.com",
        "-o", f"UserKnownHostsFile={ssh['known_hosts']}", "-o", "BatchMode=yes",
        "-o", "ExitOnForwardFailure=yes",
        "-L", f"{local}:/run/wherryd.sock", "-L", f"127.0.0.1:{SSH_PORT}:127.0.0.1:{PORT}",
        f"{ssh['user']}@{ssh['host']}",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + READY_SECONDS
        while not local.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("ssh -L did not come up")
            time.sleep(0.05)
        yield local
    finally:
        process.terminate()
        process.wait()


def report(machine: Machine) -> str:
    """The section of docs/benchmarks.md; the machine runs."""
    with tempfile.TemporaryDirectory(prefix="wt-", dir="/tmp") as name:
        folder = Path(name)
        busybox_tar(folder / "busybox.tar")
        machine.wherry("import", str(folder / "busybox.tar"), "bench:busybox")
        sender = [
            "nc",
            "-ll",
            "-p",
            "9000",
            "-e",
            "/bin/dd",
            "if=/dev/zero",
            "bs=1M",
            f"count={TRANSFER_MIB}",
        ]
        machine.wherry("run", "-d", "--name", "sender", "-p", f"{PORT}:9000", "bench:busybox", *sender)
        agent = Path(machine.inspect()["files"]["socket"])
        with ssh_forwards(machine, folder) as ssh:
            trips = in_turn([partial(round_trip, agent), partial(round_trip, ssh)], TRIPS)
            rates = in_turn([partial(throughput, PORT), partial(throughput, SSH_PORT)], TRANSFERS)
        machine.wherry("rm", "-f", "sender")
    ours, theirs = (Figure(samples, "ms") for samples in trips)
    our_rate, their_rate = (Figure(samples, "MB/s") for samples in rates)
    return (
        "## The tunnel\n\n"
        f"{TRIPS} round trips (new connection, `GET /_ping`, end of the answer) and {TRANSFERS} transfers of "
        f"{TRANSFER_MIB} MiB out of a container's published port, in turn, median (smallest to largest). "
        "The other side is OpenSSH's `ssh -L` to the same socket and port of the same guest.\n\n"
        + table(
            ["", "agent", "`ssh -L`", "agent / `ssh -L`"],
            [
                ["round trip", ours, theirs, f"{ours.median / theirs.median:.2f}"],
                ["throughput", our_rate, their_rate, f"{our_rate.median / their_rate.median:.2f}"],
            ],
        )
    )
