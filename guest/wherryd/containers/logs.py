"""Reading a container's log: json-file records, across rotated files, from the tail, following.

The monitor writes `<id>-json.log` and rotates it to `.1`, `.2`, ... (logfiles.py). One record per line:
{"log": "...", "stream": "stdout", "time": "RFC 3339"}, and "attrs" when the log was told to keep some. A
record without a newline at its end is a part of a longer line. Source: Engine API,
ContainerLogs; the json-file format of the reference daemon.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
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


#: Entries and bytes that are given at a time: what is there, but not so much that others have to wait.
_BATCH_ENTRIES = 256
_BATCH_BYTES = 64 * 1024


async def read(
    path: Path,
    query: LogQuery,
    watcher: LogWatcher,
    ended: Callable[[], bool],
    on_exit: Callable[[Callable[[], None]], None],
) -> AsyncGenerator[list[LogEntry], None]:
    """Entries in the order they were written, as many at a time as are there: a step costs as much as dozens
    of entries. With follow it goes on until `ended` and all is read. Close it: it holds the log's files.

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
                for batch in _batches(parse(line, continues) for line in reader.lines()):
                    wanted = [entry for entry in batch if _wanted(entry, query)]
                    if wanted and query.until is not None:
                        yield [entry for entry in wanted if entry.time_ns <= query.until]
                    elif wanted:
                        yield wanted
                    # A long log is read at once, and there is more to do than this.
                    await asyncio.sleep(0)
                    if query.until is not None and wanted and wanted[-1].time_ns > query.until:
                        return
                if last:
                    return
                await written.wait()
    finally:
        reader.close()


def _batches(entries: Iterable[LogEntry | None]) -> Iterator[list[LogEntry]]:
    batch, size = list[LogEntry](), 0
    for entry in entries:
        if entry is None:
            continue
        batch.append(entry)
        size += len(entry.payload)
        if len(batch) >= _BATCH_ENTRIES or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _wanted(entry: LogEntry, query: LogQuery) -> bool:
    if query.since is not None and entry.time_ns < query.since:
        return False
    return query.stdout if entry.stream is StreamId.STDOUT else query.stderr
