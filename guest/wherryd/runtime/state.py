"""The runtime's files on disk, named once. Written aside and renamed: a reader sees all or nothing.

    <exec root>/monitor.log          faults of the processes that monitors run in; normally empty
    <exec root>/containers/<id>/     0700; made by the monitor, removed by delete
        state.json      who the container is: see `State`; rewritten when it starts
        exit.json       how it ended: see ExitStatus; written before anybody is told
        config.json     wherry-runc's: the config it was created by; start.fifo: its start gate
        monitor.sock    the monitor's door, see messages.py
        monitor.log     what the monitor had to complain about; normally empty
    <exec root>/seccomp/             0700; compiled filters of all containers, see seccomp.py

No fsync: the exec root is on a tmpfs, and a file survives the death of any process without one.
"""

import contextlib
import json
import os
import re
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from wherryd.errors import InvalidParameter, NotFound, SystemFault
from wherryd.runtime.types import ExitStatus

_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,127}\Z")

SCHEMA: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """pid: init's, as the engine sees it. pid_started: its start time in clock ticks after boot
    (/proc/<pid>/stat, field 22), so that a reused pid is noticed. namespaces: kinds that are not the
    host's. gate: "monitor", or "fifo" for one made by wherry-runc."""

    container_id: str
    pid: int
    pid_started: int
    monitor_pid: int
    bundle: str
    rootfs: str
    cgroup: str
    namespaces: tuple[str, ...]
    created_at: str
    gate: str
    started_at: str = ""
    annotations: dict[str, str]
    version: int = SCHEMA

    def started(self, at: str) -> "State":
        return replace(self, started_at=at)


class StateDir:
    """One container's directory."""

    def __init__(self, exec_root: Path, container_id: str) -> None:
        """Raises InvalidParameter when the id could not be a file name."""
        if not _ID.match(container_id):
            raise InvalidParameter(
                f"invalid container ID format: {container_id!r} must be 1 to 128 of A-Z a-z 0-9 _ . + -, "
                "and not begin with . + -"
            )
        self.container_id = container_id
        self.path = exec_root / "containers" / container_id
        self.seccomp_cache = exec_root / "seccomp"

    @property
    def state_file(self) -> Path:
        return self.path / "state.json"

    @property
    def exit_file(self) -> Path:
        return self.path / "exit.json"

    @property
    def log_file(self) -> Path:
        return self.path / "monitor.log"

    @property
    def config_file(self) -> Path:
        """wherry-runc's copy of config.json: what comes later in the bundle changes nothing any more."""
        return self.path / "config.json"

    @property
    def gate_fifo(self) -> Path:
        return self.path / "start.fifo"

    def create(self) -> None:
        """Raises FileExistsError."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.mkdir(mode=0o700)

    def exists(self) -> bool:
        return self.path.is_dir()

    def remove(self) -> None:
        """The directory has no sub-directories. Done twice is fine."""
        with contextlib.suppress(FileNotFoundError):
            for entry in list(self.path.iterdir()):
                entry.unlink(missing_ok=True)
            self.path.rmdir()

    def write_state(self, state: State) -> None:
        _write(self.state_file, asdict(state))

    def read_state(self) -> State:
        """Raises NotFound, SystemFault when it was written by a newer version."""
        document = _read(self.state_file)
        if document is None:
            raise NotFound(f"container does not exist: no {self.container_id} in {self.path.parent}")
        if document.get("version") != SCHEMA:
            raise SystemFault(
                f"{self.state_file} was written by another version of Wherry: delete the container"
            )
        document["namespaces"] = tuple(document["namespaces"])
        return State(**document)

    def write_exit(self, status: ExitStatus) -> None:
        _write(self.exit_file, asdict(status))

    def read_exit(self) -> ExitStatus | None:
        document = _read(self.exit_file)
        return None if document is None else ExitStatus(**document)

    def listen(self) -> socket.socket:
        """The monitor's door, non-blocking."""
        listener = socket.socket(
            socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        )
        with _short_name(self.path, "monitor.sock") as name:
            listener.bind(name)
        listener.listen(64)
        return listener

    def connect(self) -> socket.socket | None:
        """A connection to the monitor; None when there is none alive."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            with _short_name(self.path, "monitor.sock") as name:
                connection.connect(name)
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
            return None
        return connection


@contextlib.contextmanager
def _short_name(directory: Path, name: str) -> Iterator[str]:
    """A socket's name is at most 107 bytes, an exec root may be longer: name it below a descriptor."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{name}"
    finally:
        os.close(fd)


def _write(path: Path, document: dict[str, Any]) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(document))
    temporary.rename(path)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise SystemFault(f"{path} is damaged: delete the container ({error})") from error
    return dict(document)


def process_start_ticks(pid: int) -> int:
    """Field 22 of /proc/<pid>/stat; 0 when there is no such process. Source: proc_pid_stat(5)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(stat.rpartition(")")[2].split()[19])


def is_alive(state: State) -> bool:
    """Whether init still runs, and is not just another process with its number or a zombie."""
    try:
        stat = Path(f"/proc/{state.pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return int(stat[19]) == state.pid_started and stat[0] not in ("Z", "X")
