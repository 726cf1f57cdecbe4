"""Where the API listens: sockets from systemd, unix sockets, TCP."""

import grp
import ipaddress
import os
import socket
import stat
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from wherryd.errors import InvalidParameter, SystemFault

#: systemd's first passed descriptor. Source: sd_listen_fds(3).
_FIRST_FD = 3
#: Of connections that wait to be taken; a client that finds it full is refused at once. As Linux has it for
#: net.core.somaxconn, which Go's servers take, and dockerd with them. For asyncio too: else it sets its own.
BACKLOG = 4096


def listen(hosts: Sequence[str], group: str, *, is_verified: bool = False) -> list[socket.socket]:
    """Systemd's sockets when it passed some, else one per host. Raises InvalidParameter, SystemFault.

    is_verified: TCP is for clients with a certificate, and may so be reached from anywhere.
    """
    passed = _from_systemd()
    if passed:
        return passed
    found: list[socket.socket] = []
    try:
        for host in hosts:
            found.append(_open(host, group, is_verified))  # noqa: PERF401 - what is open must be closed on failure
    except BaseException:
        for each in found:
            each.close()
        raise
    return found


def _from_systemd() -> list[socket.socket]:
    if os.environ.pop("LISTEN_PID", "") != str(os.getpid()):
        return []
    count = int(os.environ.pop("LISTEN_FDS", "0"))
    os.environ.pop("LISTEN_FDNAMES", None)
    found = [socket.socket(fileno=number) for number in range(_FIRST_FD, _FIRST_FD + count)]
    for each in found:
        os.set_inheritable(each.fileno(), False)
        each.setblocking(False)
    return found


def _open(host: str, group: str, is_verified: bool) -> socket.socket:
    url = urlsplit(host)
    if url.scheme == "unix" and url.path.startswith("/"):
        return _unix(Path(url.path), group)
    if url.scheme == "tcp" and url.port:
        return _tcp(url.hostname or "", url.port, is_verified)
    if url.scheme == "fd":
        raise InvalidParameter(f"--host {host}: systemd passed no socket (hint: start wherryd.socket)")
    raise InvalidParameter(f"--host {host}: wants unix:///path or tcp://127.0.0.1:port")


def _unix(path: Path, group: str) -> socket.socket:
    """Made under a temporary name with its final mode, so that nobody can connect before it is set."""
    if path.exists():
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise InvalidParameter(f"--host unix://{path}: there is a file that is not a socket")
        if _answers(path):
            raise SystemFault(f"another engine answers at {path} (hint: stop it, or give another --host)")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        before = os.umask(0o177)
        try:
            listener.bind(str(temporary))
        finally:
            os.umask(before)
        os.chown(temporary, 0 if os.geteuid() == 0 else -1, _group_id(group))
        temporary.chmod(0o660)
        listener.listen(BACKLOG)
        listener.setblocking(False)
        temporary.rename(path)
    except OSError as exc:
        listener.close()
        temporary.unlink(missing_ok=True)
        raise SystemFault(f"listening at {path}: {exc}") from exc
    return listener


def _group_id(name: str) -> int:
    """The group's id, or -1 (leave as it is) when there is no such group: then only root may connect."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return -1


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def _tcp(name: str, port: int, is_verified: bool) -> socket.socket:
    """Loopback only, unless clients must show a certificate: whoever is served is root."""
    try:
        address = ipaddress.ip_address("127.0.0.1" if name == "localhost" else name)
    except ValueError as exc:
        raise InvalidParameter(f"--host tcp://{name}:{port}: wants an address, not a name") from exc
    if not address.is_loopback and not is_verified:
        raise InvalidParameter(
            f"--host tcp://{name}:{port}: only loopback addresses, for without --tlsverify the API has "
            "no authentication"
        )
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((str(address), port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as exc:
        listener.close()
        raise SystemFault(f"listening at tcp://{name}:{port}: {exc}") from exc
    return listener
