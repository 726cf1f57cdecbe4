"""Where the engine listens. Pure apart from the environment and one look at the machine's folder."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from wherry.errors import MachineNotRunning, NoSuchMachine, UsageProblem

DEFAULT_MACHINE = "default"
#: Docker's port for an engine on TCP without TLS.
DEFAULT_TCP_PORT = 2375


class Scheme(StrEnum):
    UNIX = "unix"
    TCP = "tcp"
    NPIPE = "npipe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """path: of the socket or pipe ("" for tcp). machine: name, if the socket is a machine's own."""

    scheme: Scheme
    path: str = ""
    host: str = ""
    port: int = 0
    machine: str | None = None

    def __str__(self) -> str:
        if self.scheme is Scheme.TCP:
            host = f"[{self.host}]" if ":" in self.host else self.host
            return f"tcp://{host}:{self.port}"
        return f"{self.scheme}://{self.path}"


def parse(url: str) -> Endpoint:
    """`unix:///path`, `tcp://host[:port]`, `http://host[:port]` or `npipe:////./pipe/name`.

    Raises UsageProblem on anything else.
    """
    scheme, found, rest = url.partition("://")
    if not found:
        raise UsageProblem(f'engine address "{url}" has no scheme; write unix:///path or tcp://host:port')
    if scheme == "unix":
        if not rest:
            raise UsageProblem(f'engine address "{url}" names no socket; write unix:///path')
        return Endpoint(scheme=Scheme.UNIX, path=rest)
    if scheme == "npipe":
        return Endpoint(scheme=Scheme.NPIPE, path=rest.replace("\\", "/"))
    if scheme in {"tcp", "http"}:
        return _parse_tcp(url)
    raise UsageProblem(f'engine address "{url}": no such scheme "{scheme}"; use unix://, npipe:// or tcp://')


def _parse_tcp(url: str) -> Endpoint:
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    try:
        port = parts.port or DEFAULT_TCP_PORT
    except ValueError as exc:
        raise UsageProblem(f'engine address "{url}": {exc}; write tcp://host:port') from exc
    if parts.path not in {"", "/"}:
        raise UsageProblem(f'engine address "{url}" has a path; write tcp://host:port')
    return Endpoint(scheme=Scheme.TCP, host=parts.hostname or "localhost", port=port)


def of_machine(name: str) -> Endpoint:
    """The socket that the machine's agent serves; a pipe on Windows. Looks at nothing."""
    if sys.platform == "win32":
        return Endpoint(scheme=Scheme.NPIPE, path=f"//./pipe/wherry-{name}", machine=name)
    else:  # noqa: RET505 - the type checker follows if and else per platform
        from wherry.paths import paths  # not needed for an address that was given

        return Endpoint(scheme=Scheme.UNIX, path=str(paths().machine(name).socket), machine=name)


def resolve(host_option: str | None, environ: Mapping[str, str] = os.environ) -> Endpoint:
    """The engine to talk to: -H, then WHERRY_HOST, then DOCKER_HOST, then the default machine.

    Raises UsageProblem on a malformed address, NoSuchMachine or MachineNotRunning if it comes to the
    default machine and that one is not there or has no socket.
    """
    for url in (host_option, environ.get("WHERRY_HOST"), environ.get("DOCKER_HOST")):
        if url:
            endpoint = parse(url)
            if endpoint.scheme is Scheme.TCP and environ.get("DOCKER_TLS_VERIFY"):
                # Without a word it would be plain text, where the user asked for the contrary.
                raise UsageProblem(
                    f"DOCKER_TLS_VERIFY is set, and TLS to {endpoint} is not available; use a socket or SSH"
                )
            return endpoint
    endpoint = of_machine(DEFAULT_MACHINE)
    # A pipe cannot be looked at without connecting; there the first call finds out (see dial.py).
    if endpoint.scheme is Scheme.UNIX and not os.path.exists(endpoint.path):  # noqa: PTH110 - import cost
        raise not_running(DEFAULT_MACHINE)
    return endpoint


def not_running(machine: str) -> MachineNotRunning | NoSuchMachine:
    """The error for a machine whose socket does not answer, with the command that helps."""
    from wherry.paths import paths

    if not paths().machine(machine).record.exists():
        return NoSuchMachine(
            f'there is no machine "{machine}" yet; run `wherry machine init` and `wherry machine start`'
        )
    option = "" if machine == DEFAULT_MACHINE else f" --name {machine}"
    return MachineNotRunning(f'machine "{machine}" is stopped; run `wherry machine start{option}`')
