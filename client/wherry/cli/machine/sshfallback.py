"""One command in the guest over paramiko, for hosts without the `ssh` command."""

import os
import sys
import threading

from wherry.machine.store import Machine
from wherry.tunnel.dial import SshTarget, dial

CHUNK_BYTES = 64 * 1024


def target_of(machine: Machine) -> SshTarget:
    endpoint = machine.provider.ssh_endpoint()
    return SshTarget(
        host=endpoint.host,
        port=endpoint.port,
        user="wherry",
        private_key=machine.files.private_key,
        host_key=machine.files.known_host.read_text(encoding="ascii").strip(),
    )


def answer_of(machine: Machine, command: str, data: bytes) -> tuple[int, bytes, bytes]:
    """(exit status, stdout, stderr) of a command that is given data. Raises TunnelProblem."""
    tunnel = dial(target_of(machine))
    try:
        channel = tunnel.open_session()
        channel.exec_command(command)
        channel.sendall(data)
        channel.shutdown_write()
        complaints: list[bytes] = []

        def errors() -> None:
            while more := channel.recv_stderr(CHUNK_BYTES):
                complaints.append(more)

        reader = threading.Thread(target=errors)
        reader.start()
        out = b""
        while more := channel.recv(CHUNK_BYTES):
            out += more
        reader.join()
        return channel.recv_exit_status(), out, b"".join(complaints)
    finally:
        tunnel.close()


def run_command(machine: Machine, command: str) -> int:
    """Runs it with our stdin, stdout and stderr; returns its exit status. Raises TunnelProblem."""
    tunnel = dial(target_of(machine))
    try:
        channel = tunnel.open_session()
        channel.exec_command(command)

        def feed() -> None:
            while data := os.read(sys.stdin.fileno(), CHUNK_BYTES):
                channel.sendall(data)
            channel.shutdown_write()

        def errors() -> None:
            while data := channel.recv_stderr(CHUNK_BYTES):
                sys.stderr.buffer.write(data)
                sys.stderr.buffer.flush()

        # A daemon thread: stdin may block for ever after the command has ended.
        threading.Thread(target=feed, daemon=True).start()
        complaints = threading.Thread(target=errors)
        complaints.start()
        while data := channel.recv(CHUNK_BYTES):
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        complaints.join()
        return channel.recv_exit_status()
    finally:
        tunnel.close()
