"""Reading a container's log: json-file records, across rotated files, from the tail, following.

The monitor writes `<id>-json.log` and rotates it to `.1`, `.2`, ... (logfiles.py). One record per line:
{"log": "...", "stream": "stdout", "time": "RFC 3339"}, and "attrs" when the log was told to keep some. A
record without a newline at its end is a part of a longer line. Source: Engine API,
ContainerLogs; the json-file format of the reference daemon.
"""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from wherryd import clock
from wherryd.containers.logfiles import RotatedReader
from wherryd.containers.logwatch import LogWatcher
from wherrywire.rawstream import StreamId


@dataclass(frozen=True, slots=True)
class LogEntry:
    stream: StreamId
    payload: bytes
    time_ns: int
    #: As written; printed with nine digits.
    time: str
    #: Whether a line begins here, so that a timestamp belongs in front.
    starts_line: bool
    #: `attrs`: labels and variables the log was told to keep.
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogQuery:
    """tail: number of records from the end, None for all. since, until: nanoseconds since 1970."""

    stdout: bool
    stderr: bool
    follow: bool = False
    tail: int | None = None
    since: int | None = None
    until: int | None = None


def parse(line: bytes, continues: dict[StreamId, bool]) -> LogEntry | None:
    """One record; None for a line cut off by a power failure. Notes open lines in `continues`."""
    try:
        document = json.loads(line)
        stream = StreamId.STDERR if document["stream"] == "stderr" else StreamId.STDOUT
        payload = document["log"].encode("utf-8", "surrogateescape")
        nanoseconds = clock.to_nanoseconds(document["time"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    starts = not continues.get(stream, False)
    continues[stream] = not payload.endswith(b"\n")
    time = clock.from_nanoseconds(nanoseconds)
    return LogEntry(stream, payload, nanoseconds, time, starts, document.get("attrs") or {})


async def read(
    path: Path,
    query: LogQuery,
    watcher: LogWatcher,
    ended: Callable[[], bool],
    on_exit: Callable[[Callable[[], None]], None],
) -> AsyncIterator[LogEntry]:
    """Entries in the order they were written. With follow it goes on until `ended` and all is read.

    on_exit: has a callable called at the next exit of the container, when `ended` is to be asked again.
    """
    continues: dict[StreamId, bool] = {}
    reader = RotatedReader(path, query.tail)
    try:
        with watcher.watch(path.parent) as written:
            while True:
                written.clear()
                on_exit(written.set)
                # Asked before reading: what is written before the end is then certainly read.
                last = not query.follow or ended()
                for line in reader.lines():
                    entry = parse(line, continues)
                    if entry is None or not _wanted(entry, query):
                        continue
                    if query.until is not None and entry.time_ns > query.until:
                        return
                    yield entry
                if last:
                    return
                await written.wait()
    finally:
        reader.close()


def _wanted(entry: LogEntry, query: LogQuery) -> bool:
    if query.since is not None and entry.time_ns < query.since:
        return False
    return query.stdout if entry.stream is StreamId.STDOUT else query.stderr
