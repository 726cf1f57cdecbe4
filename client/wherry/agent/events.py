"""events.jsonl: one JSON line per change of a machine, written by its agent, read by whoever wants.

    {"time": "2026-01-31T12:00:00.123Z", "event": "running", "pid": 4711, ...}

A start begins a new file; the one before is kept as events.jsonl.1.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from wherrywire import jsonlines


class Event(StrEnum):
    STARTING = "starting"
    #: The guest's user space has begun.
    BOOTED = "booted"
    #: The guest announced its host key ("host_key"): sshd and the engine are up.
    READY = "ready"
    #: The SSH connection stands.
    CONNECTED = "connected"
    #: The engine answers through the tunnel.
    RUNNING = "running"
    #: The connection or the engine is lost ("reason"); the agent keeps trying.
    DEGRADED = "degraded"
    PORT_FORWARDED = "port-forwarded"
    #: A host port could not be had ("reason"); tried again at the next change.
    PORT_FAILED = "port-failed"
    PORT_CLOSED = "port-closed"
    CLOCK_STEPPED = "clock-stepped"
    #: The agent ends ("reason"). Always the last line, unless the agent was killed.
    STOPPED = "stopped"


#: The events that say how the machine as a whole is.
PHASES = frozenset({Event.STARTING, Event.RUNNING, Event.DEGRADED, Event.STOPPED})


class EventLog:
    """Appends events. Each line is one write, so a reader never sees half of one."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def write(self, event: Event, **fields: Any) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = jsonlines.encode({"time": now, "event": event, "pid": os.getpid(), **fields})
        with self._file.open("ab", buffering=0) as output:
            output.write(line)


def rotate(file: Path) -> None:
    """Begins a new file; the caller has made sure that no agent writes."""
    if file.exists():
        file.replace(file.with_name(f"{file.name}.1"))
    file.touch(mode=0o600)


class EventReader:
    """Reads the events from the file's beginning, each once."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._offset = 0
        self._decoder = jsonlines.Decoder()

    def poll(self) -> Iterator[dict[str, Any]]:
        """The events added since the last call."""
        try:
            with self._file.open("rb") as stream:
                stream.seek(self._offset)
                data = stream.read()
        except FileNotFoundError:
            return
        self._offset += len(data)
        yield from self._decoder.feed(data)
