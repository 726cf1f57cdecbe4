"""Dialling the guest: one TCP connection to a loopback port, SSH over it, the host key checked first."""

import socket
from dataclasses import dataclass
from pathlib import Path

import paramiko

from wherry.errors import TunnelProblem
from wherry.tunnel.transport import PACKET_BYTES, WINDOW_BYTES, TunnelChannel, TunnelTransport

ENGINE_SOCKET = "/run/wherryd.sock"

#: GCM does cipher and checksum in one pass: as fast as OpenSSH, twice as fast as CTR with HMAC.
#: The others are for a stand-in guest whose sshd has no GCM.
CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes256-ctr", "aes128-ctr")
#: X25519 first: the guest may be emulated, and the larger exchanges cost it a second each.
KEY_EXCHANGES = ("curve25519-sha256@libssh.org", "ecdh-sha2-nistp256")
KEEPALIVE_SECONDS = 5

#: A hypervisor's NAT accepts the TCP connection itself, long before the guest listens: the banner is
#: the first sign of life. An emulated guest needs a second or two for it.
CONNECT_SECONDS = 5.0
BANNER_SECONDS = 10.0
HANDSHAKE_SECONDS = 30.0
CHANNEL_SECONDS = 15.0
#: A command's answer is read up to this size; more is a fault of the guest.
MAX_ANSWER_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class SshTarget:
    """Where and as whom to dial. host_key: fingerprint ("SHA256:...") that the guest must prove."""

    host: str
    port: int
    user: str
    private_key: Path
    host_key: str


def _words(exc: Exception) -> str:
    """What an error says; paramiko's EOFError says nothing, and its ChannelException prints its class."""
    if isinstance(exc, paramiko.ChannelException):
        return exc.text
    return str(exc) or "the connection ended"


class GuestCommandProblem(TunnelProblem):
    """A command in the guest ran, and failed: the tunnel itself is well."""


class Tunnel:
    """A living SSH connection. Thread-safe. Closing twice is fine."""

    def __init__(self, transport: TunnelTransport) -> None:
        self._transport = transport

    @property
    def alive(self) -> bool:
        return self._transport.is_active()

    @property
    def host_key_line(self) -> str:
        """The guest's host key as ``ssh-ed25519 AAAA...``; it has matched the expected fingerprint."""
        key = self._transport.get_remote_server_key()
        return f"{key.get_name()} {key.get_base64()}"

    @property
    def cipher(self) -> str:
        return str(self._transport.remote_cipher)  # type: ignore[attr-defined]  # not in the stubs

    def open_engine(self, *, timeout_seconds: float = CHANNEL_SECONDS) -> TunnelChannel:
        """A channel to the engine's socket in the guest. Raises TunnelProblem."""
        return self.open_socket(ENGINE_SOCKET, timeout_seconds=timeout_seconds)

    def open_socket(self, path: str, *, timeout_seconds: float = CHANNEL_SECONDS) -> TunnelChannel:
        """A channel to a unix socket in the guest. Raises TunnelProblem."""
        try:
            return self._transport.open_streamlocal(path, timeout_seconds=timeout_seconds)
        except (paramiko.SSHException, EOFError, OSError) as exc:
            raise TunnelProblem(f"nothing answers on {path} in the guest: {_words(exc)}") from exc

    def open_tcp(
        self, port: int, *, host: str = "127.0.0.1", timeout_seconds: float = CHANNEL_SECONDS
    ) -> TunnelChannel:
        """A channel to a TCP port as the guest sees it. Raises TunnelProblem."""
        try:
            return self._transport.open_tcp(host, port, timeout_seconds=timeout_seconds)
        except (paramiko.SSHException, EOFError, OSError) as exc:
            raise TunnelProblem(f"nothing answers on port {port} of the guest: {_words(exc)}") from exc

    def open_session(self, *, timeout_seconds: float = CHANNEL_SECONDS) -> paramiko.Channel:
        """A channel for a command or a shell. Raises TunnelProblem."""
        try:
            return self._transport.open_session(timeout=timeout_seconds)
        except (paramiko.SSHException, EOFError, OSError) as exc:
            raise TunnelProblem(
                f"the guest opens no session: {_words(exc)}; see `wherry machine logs`"
            ) from exc

    def run(self, command: str, *, timeout_seconds: float) -> str:
        """Runs a command in the guest and returns its output, stderr included.

        Raises GuestCommandProblem when it ends with another status than 0, TunnelProblem when it does not
        end in time or the connection fails.
        """
        channel = self.open_session(timeout_seconds=timeout_seconds)
        try:
            channel.settimeout(timeout_seconds)
            channel.set_combine_stderr(True)
            channel.exec_command(command)
            output = b""
            while data := channel.recv(65536):
                output += data
                if len(output) > MAX_ANSWER_BYTES:
                    raise TunnelProblem(f"`{command}` in the guest says more than {MAX_ANSWER_BYTES} bytes")
            if not channel.status_event.wait(timeout_seconds):
                raise TunnelProblem(f"`{command}` in the guest did not end in {timeout_seconds:g} s")
            text = output.decode(errors="replace")
            if channel.exit_status != 0:
                raise GuestCommandProblem(
                    f"`{command}` in the guest ended with {channel.exit_status}: {text.strip()}"
                )
            return text
        except TimeoutError as exc:
            raise TunnelProblem(f"`{command}` in the guest did not answer in {timeout_seconds:g} s") from exc
        except (paramiko.SSHException, EOFError, OSError) as exc:
            raise TunnelProblem(f"`{command}` in the guest: {_words(exc)}") from exc
        finally:
            channel.close()

    def wait_closed(self, timeout_seconds: float) -> bool:
        """Waits until the connection is gone; False if it still lives after the time."""
        self._transport.join(timeout_seconds)
        return not self._transport.is_alive()

    def close(self) -> None:
        self._transport.close()


def dial(target: SshTarget) -> Tunnel:
    """Connects, checks the guest's host key, then authenticates. Raises TunnelProblem."""
    where = f"{target.host}:{target.port}"
    try:
        key = paramiko.Ed25519Key.from_private_key_file(str(target.private_key))
        connection = socket.create_connection((target.host, target.port), timeout=CONNECT_SECONDS)
    except (OSError, paramiko.SSHException) as exc:
        raise TunnelProblem(f"the guest cannot be dialled on {where}: {exc}") from exc
    # Nagle's algorithm holds a channel's first bytes back for 40 ms.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    transport = TunnelTransport(
        connection, default_window_size=WINDOW_BYTES, default_max_packet_size=PACKET_BYTES
    )
    try:
        transport.banner_timeout = BANNER_SECONDS
        transport.auth_timeout = HANDSHAKE_SECONDS
        options = transport.get_security_options()
        options.ciphers = CIPHERS
        options.kex = KEY_EXCHANGES
        options.key_types = ("ssh-ed25519",)
        transport.start_client(timeout=HANDSHAKE_SECONDS)
        offered = transport.get_remote_server_key().fingerprint
        if offered != target.host_key:
            raise TunnelProblem(
                f"{where} proves the host key {offered}, but the guest announced {target.host_key}: another "
                "program may have taken the port; `wherry machine restart` gets a fresh announcement"
            )
        transport.auth_publickey(target.user, key)
        transport.set_keepalive(KEEPALIVE_SECONDS)
    except (paramiko.SSHException, EOFError, OSError) as exc:
        transport.close()
        raise TunnelProblem(f"SSH to the guest on {where} failed: {_words(exc)}") from exc
    except BaseException:
        transport.close()
        raise
    return Tunnel(transport)
