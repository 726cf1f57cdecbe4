"""Which engine to talk to, and where it listens. Pure apart from the environment and a look at files.

What names it, the first that says something:

    -H/--host or -c/--context (not both)
    WHERRY_HOST, DOCKER_HOST
    DOCKER_CONTEXT, and currentContext in docker's config.json (contexts.py)
    the default machine
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from wherry.engine import dockerconfig
from wherry.errors import MachineNotRunning, NoSuchMachine, UsageProblem

DEFAULT_MACHINE = "default"
#: The context that is always there: the default machine, or what the environment names.
DEFAULT_CONTEXT = "default"
#: Docker's ports for an engine on TCP.
DEFAULT_TCP_PORT = 2375
DEFAULT_TLS_PORT = 2376


class Scheme(StrEnum):
    UNIX = "unix"
    TCP = "tcp"
    NPIPE = "npipe"
    SSH = "ssh"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """verify: whether the engine must prove its name. ca, cert, key: paths of PEM files, "" for none."""

    verify: bool
    ca: str = ""
    cert: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """path: of the socket or pipe ("" for tcp; for ssh that of the remote engine, or ""). port: 0 for ssh's
    own. machine: name, if the socket is a machine's own."""

    scheme: Scheme
    path: str = ""
    host: str = ""
    port: int = 0
    user: str = ""
    machine: str | None = None
    tls: Tls | None = None

    def __str__(self) -> str:
        if self.scheme in {Scheme.UNIX, Scheme.NPIPE}:
            return f"{self.scheme}://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        user = f"{self.user}@" if self.user else ""
        port = f":{self.port}" if self.port else ""
        return f"{self.scheme}://{user}{host}{port}{self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a command line says about the engine. None and "": nothing. ca, cert, key: paths of PEM files."""

    host: str | None = None
    context: str | None = None
    tls: bool | None = None
    tls_verify: bool | None = None
    ca: str | None = None
    cert: str | None = None
    key: str | None = None

    @property
    def names_tls(self) -> bool:
        return bool(self.tls or self.tls_verify or self.ca or self.cert or self.key)


def parse(url: str, tls: Tls | None = None) -> Endpoint:
    """`unix:///path`, `tcp://host[:port]`, `host:port`, `npipe:////./pipe/name` or `ssh://[user@]host[:port]`.

    tls: for tcp. Raises UsageProblem on anything else.
    """
    scheme, found, rest = url.partition("://")
    if not found:
        if url.startswith(("/", ".")):
            raise UsageProblem(f'engine address "{url}" has no scheme; write unix://{url}')
        scheme, url = "tcp", f"tcp://{url}"
    if scheme == "unix":
        if not rest:
            raise UsageProblem(f'engine address "{url}" names no socket; write unix:///path')
        return Endpoint(scheme=Scheme.UNIX, path=rest)
    if scheme == "npipe":
        return Endpoint(scheme=Scheme.NPIPE, path=rest.replace("\\", "/"))
    if scheme in {"tcp", "http", "https"}:
        return _parse_tcp(url, tls)
    if scheme == "ssh":
        return _parse_ssh(url)
    raise UsageProblem(
        f'engine address "{url}": no such scheme "{scheme}"; use unix://, npipe://, tcp:// or ssh://'
    )


def _parse_tcp(url: str, tls: Tls | None) -> Endpoint:
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    try:
        port = parts.port or (DEFAULT_TLS_PORT if tls else DEFAULT_TCP_PORT)
    except ValueError as exc:
        raise UsageProblem(f'engine address "{url}": {exc}; write tcp://host:port') from exc
    if parts.path not in {"", "/"}:
        raise UsageProblem(f'engine address "{url}" has a path; write tcp://host:port')
    if parts.scheme == "https" and tls is None:
        raise UsageProblem(f'engine address "{url}": say by --tlsverify or --tls what to check; write tcp://')
    return Endpoint(scheme=Scheme.TCP, host=parts.hostname or "localhost", port=port, tls=tls)


def _parse_ssh(url: str) -> Endpoint:
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    try:
        port = parts.port or 0
    except ValueError as exc:
        raise UsageProblem(f'engine address "{url}": {exc}; write ssh://user@host:port') from exc
    # A host that looks like an option of ssh's would be one.
    if not parts.hostname or parts.hostname.startswith("-"):
        raise UsageProblem(f'engine address "{url}" names no host; write ssh://user@host')
    if parts.password is not None:
        raise UsageProblem(f'engine address "{url}": a password has no place here; let ssh use a key')
    if parts.query or parts.fragment:
        raise UsageProblem(f'engine address "{url}" says too much; write ssh://user@host:port')
    path = parts.path if parts.path != "/" else ""
    return Endpoint(scheme=Scheme.SSH, host=parts.hostname, port=port, user=parts.username or "", path=path)


def of_machine(name: str) -> Endpoint:
    """The socket that the machine's agent serves; a pipe on Windows. Looks at nothing."""
    if sys.platform == "win32":
        return Endpoint(scheme=Scheme.NPIPE, path=f"//./pipe/wherry-{name}", machine=name)
    else:  # noqa: RET505 - the type checker follows if and else per platform
        from wherry.paths import paths  # not needed for an address that was given

        return Endpoint(scheme=Scheme.UNIX, path=str(paths().machine(name).socket), machine=name)


def context_name(wanted: Wanted, environ: Mapping[str, str], current: str) -> str:
    """The context that counts; "default" where an address does. current: of config.json.

    Raises UsageProblem for a command line that names an address and a context.
    """
    if wanted.context:
        if wanted.host:
            raise UsageProblem("conflicting options: cannot specify both --host and --context")
        return wanted.context
    if _address(wanted, environ):
        return DEFAULT_CONTEXT
    return environ.get("DOCKER_CONTEXT") or current or DEFAULT_CONTEXT


def resolve(wanted: Wanted, environ: Mapping[str, str] = os.environ, current: str = "") -> Endpoint:
    """The engine to talk to (the order is at the head of this file). current: currentContext.

    Raises UsageProblem on a malformed address or a context that is not there, NoSuchMachine or
    MachineNotRunning if it comes to the default machine and that one is not there or has no socket.
    """
    name = context_name(wanted, environ, current)
    if name != DEFAULT_CONTEXT:
        from wherry.engine import contexts

        return contexts.endpoint(name, _tls(wanted, environ) if wanted.names_tls else None)
    if url := _address(wanted, environ):
        endpoint = parse(url, _tls(wanted, environ))
        if wanted.names_tls and endpoint.scheme is not Scheme.TCP:
            raise UsageProblem(f"{endpoint}: TLS is for engines on TCP; leave its options out")
        return endpoint
    endpoint = of_machine(DEFAULT_MACHINE)
    # A pipe cannot be looked at without connecting; there the first call finds out (see dial.py).
    if endpoint.scheme is Scheme.UNIX and not os.path.exists(endpoint.path):  # noqa: PTH110 - import cost
        raise not_running(DEFAULT_MACHINE)
    return endpoint


def _address(wanted: Wanted, environ: Mapping[str, str]) -> str:
    return wanted.host or environ.get("WHERRY_HOST") or environ.get("DOCKER_HOST") or ""


def _tls(wanted: Wanted, environ: Mapping[str, str]) -> Tls | None:
    """As docker has it: --tlsverify in any form and DOCKER_TLS_VERIFY turn TLS on; a client's certificate
    that lies in its usual place is used, the authority's must be there to verify.

    Source: docker CLI reference, "Environment variables"; docs "Protect the Docker daemon socket".
    """
    verify = bool(environ.get("DOCKER_TLS_VERIFY")) if wanted.tls_verify is None else wanted.tls_verify
    on = wanted.tls or bool(environ.get("DOCKER_TLS"))
    if not (on or verify or wanted.tls_verify is not None):
        return None
    folder = environ.get("DOCKER_CERT_PATH") or dockerconfig.folder()

    def usual(name: str) -> str:
        path = os.path.join(folder, name)  # noqa: PTH118 - import cost
        return path if os.path.exists(path) else ""  # noqa: PTH110 - import cost

    return Tls(
        verify=verify,
        ca=wanted.ca or os.path.join(folder, "ca.pem"),  # noqa: PTH118 - import cost
        cert=wanted.cert or usual("cert.pem"),
        key=wanted.key or usual("key.pem"),
    )


def not_running(machine: str) -> MachineNotRunning | NoSuchMachine:
    """The error for a machine whose socket does not answer, with the command that helps."""
    from wherry.paths import paths

    if not paths().machine(machine).record.exists():
        return NoSuchMachine(
            f'there is no machine "{machine}" yet; run `wherry machine init` and `wherry machine start`'
        )
    option = "" if machine == DEFAULT_MACHINE else f" --name {machine}"
    return MachineNotRunning(f'machine "{machine}" is stopped; run `wherry machine start{option}`')
