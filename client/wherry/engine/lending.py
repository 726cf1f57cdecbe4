"""What `wherry build` lends to a build: secrets, and SSH agents whose connections the steps' programs use.

Calls: POST /build/offers, then POST /build with the token, then for each agent one connection
(POST /build/offers/{token}/agents/{agent}) that waits until a step's program wants the agent.
"""

import base64
import contextlib
import csv
import os
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from wherry.engine.client import EngineClient, segment
from wherry.engine.dial import Connection, dial
from wherry.engine.endpoint import Endpoint, Scheme
from wherry.engine.hijack import READ_BYTES, HijackedStream
from wherry.errors import EngineProblem, UsageProblem, WherryError

MAX_SECRET_BYTES = 500 * 1024
#: Where OpenSSH's agent listens on Windows.
_WINDOWS_AGENT = r"\\.\pipe\openssh-ssh-agent"


@dataclass(frozen=True, slots=True)
class Loan:
    """secrets: content by id. agents: path of the agent's socket (on Windows: pipe) by id."""

    secrets: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    agents: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.secrets or self.agents)


def read(secrets: Iterable[str], agents: Iterable[str], environ: Mapping[str, str]) -> Loan:
    """`--secret id=x,src=file|env=VAR` and `--ssh default|id[=socket]`, with docker's rules. UsageProblem."""
    return Loan(
        dict(_secret(text, environ) for text in secrets), dict(_agent(text, environ) for text in agents)
    )


def _secret(text: str, environ: Mapping[str, str]) -> tuple[str, bytes]:
    given: dict[str, str] = {}
    for part in next(csv.reader([text]), []):
        key, equals, value = part.partition("=")
        key = {"source": "src"}.get(key.strip().lower(), key.strip().lower())
        if not equals or key not in ("id", "src", "env", "type"):
            raise UsageProblem(f"invalid --secret: {part}; write id=NAME,src=FILE or id=NAME,env=VARIABLE")
        given[key] = value
    kind = given.get("type", "")
    if kind not in ("", "file", "env"):
        raise UsageProblem(f"--secret {text}: unsupported type {kind}; it is file or env")
    name = given.get("id", "")
    if not name:
        raise UsageProblem(f"--secret {text}: an id is needed: id=NAME,src=FILE")
    variable = given.get("env", "")
    if not variable and "src" not in given and (kind == "env" or (not kind and name in environ)):
        variable = name
    if variable or kind == "env":
        variable = variable or given["src"]
        if variable not in environ:
            raise UsageProblem(f"--secret {name}: the environment has no variable {variable}")
        return name, os.fsencode(environ[variable])
    path = Path(given.get("src", name))
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise UsageProblem(f"--secret {name}: cannot read {path}: {exc.strerror}") from exc
    if len(content) > MAX_SECRET_BYTES:
        raise UsageProblem(f"--secret {name}: {path} is larger than {MAX_SECRET_BYTES // 1024} KiB")
    return name, content


def _agent(text: str, environ: Mapping[str, str]) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    if not equals:
        path = environ.get("SSH_AUTH_SOCK", _WINDOWS_AGENT if sys.platform == "win32" else "")
        if not path:
            raise UsageProblem(
                f"--ssh {name}: SSH_AUTH_SOCK is not set; start an agent: eval $(ssh-agent) && ssh-add"
            )
    elif Path(path).is_file():
        raise UsageProblem(
            f"--ssh {name}: {path} is a key, not an agent; ssh-add {path} and use --ssh {name}"
        )
    return name, path


@contextlib.contextmanager
def lent(engine: EngineClient, loan: Loan) -> Iterator[str | None]:
    """The offer's token while the build runs; None when nothing is lent. Raises EngineProblem."""
    if not loan:
        yield None
        return
    document = {
        "Secrets": {name: base64.b64encode(content).decode() for name, content in loan.secrets.items()},
        "Agents": list(loan.agents),
    }
    try:
        token = str(engine.post("/build/offers", body=document)["Token"])
    except EngineProblem as exc:
        if exc.status != 404:
            raise
        raise EngineProblem(
            "this engine takes no --secret and no --ssh; with dockerd use docker buildx", status=404
        ) from exc
    lenders = [_Lender(engine, token, name, path) for name, path in loan.agents.items()]
    try:
        for lender in lenders:
            lender.start()
        yield token
    finally:
        for lender in lenders:
            lender.close()


class _Lender:
    """Keeps one connection waiting for an agent, and joins each that is taken with the agent."""

    def __init__(self, engine: EngineClient, token: str, name: str, path: str) -> None:
        self._engine = engine
        self._call = f"/build/offers/{segment(token)}/agents/{segment(name)}"
        scheme = Scheme.NPIPE if sys.platform == "win32" else Scheme.UNIX
        self._agent = Endpoint(scheme=scheme, path=path)
        self._open: set[HijackedStream | Connection] = set()
        self._lock = threading.Lock()
        self._closed = False

    def start(self) -> None:
        stream = self._engine.hijack(self._call)
        if self._keep(stream):
            threading.Thread(target=self._serve, args=(stream,), daemon=True).start()

    def close(self) -> None:
        """Ends every connection; twice is fine."""
        with self._lock:
            self._closed, left = True, list(self._open)
        for each in left:
            each.close()

    def _keep(self, connection: HijackedStream | Connection) -> bool:
        with self._lock:
            if not self._closed:
                self._open.add(connection)
                return True
        connection.close()
        return False

    def _serve(self, stream: HijackedStream) -> None:
        try:
            # An agent's client speaks first: until then nobody has taken this connection.
            first = stream.recv()
            if not first:
                return
            with contextlib.suppress(WherryError, OSError):  # the build is over
                self.start()
            self._join(stream, first)
        except (WherryError, OSError):
            pass  # the agent or the engine has gone; the step's program sees its connection end
        finally:
            self._drop(stream)

    def _join(self, stream: HijackedStream, first: bytes) -> None:
        agent = dial(self._agent)
        if not self._keep(agent):
            return
        try:
            agent.sendall(first)
            threading.Thread(target=_copy, args=(agent, stream), daemon=True).start()
            _copy(stream, agent)
        finally:
            self._drop(agent)

    def _drop(self, connection: HijackedStream | Connection) -> None:
        with self._lock:
            self._open.discard(connection)
        connection.close()


def _copy(source: HijackedStream | Connection, target: HijackedStream | Connection) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(READ_BYTES):
            target.sendall(data)
    target.close()
