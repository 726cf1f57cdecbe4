"""The list of a context's files that an engine is told: a line each, of unchanged files as last time."""

import hashlib
import json
import os
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from wherry.engine.buildcontext import BuildContext, Found, permissions, target_of
from wherry.engine.statcache import Last, Record
from wherry.errors import UsageProblem
from wherrywire.contextsync import Entry, Kind, digest_of

#: FAT keeps times in steps of two seconds.
_STEP_NS = 2_000_000_000
_READERS = 4
_CHUNK_BYTES = 256 * 1024
_NAME, _LINE = 0, 6


@dataclass(frozen=True)
class ContextList:
    """total_bytes: of all files."""

    context: BuildContext
    records: list[Record]
    total_bytes: int

    @cached_property
    def lines(self) -> list[bytes]:
        return [record[_LINE].encode() + b"\n" for record in self.records]

    @cached_property
    def digest(self) -> str:
        return digest_of(self.lines)

    def contents(self, files: Iterable[Entry]) -> Iterator[bytes]:
        """Of some of its files. Raises UsageProblem for one that changed since it was looked at."""
        found = {each.name: each for each in self.context.entries}
        for entry in files:
            if entry.path in self.context.extra:
                yield self.context.extra[entry.path]
            else:
                yield from _content(found[entry.path], entry.size)


def entry_of(line: bytes | str) -> Entry:
    """One of our own lines again."""
    kind, path, mode, mtime_ns, size, value = json.loads(line)
    return Entry(kind=Kind(kind), path=path, mode=mode, mtime_ns=mtime_ns, size=size, value=value)


def tell(context: BuildContext, last: Last) -> ContextList:
    """Raises UsageProblem for a file that cannot be read."""
    records = [_of_extra(name, data) for name, data in context.extra.items()]
    found = [each for each in context.entries if each.name not in context.extra]
    seconds = _second_names(found)
    before = last.by_name
    total = sum(map(len, context.extra.values()))
    unread: list[tuple[int, Found]] = []
    for each in found:
        status, record = each.status, before.get(each.name)
        regular = stat.S_ISREG(status.st_mode)
        if regular and each.name not in seconds:
            total += status.st_size
        if record is not None and record[1:_LINE] == _identity(status):
            if not regular or status.st_nlink == 1:
                records.append(record)
                continue
            digest = json.loads(record[_LINE])[5]
        else:
            digest = ""
        if regular and each.name not in seconds and not digest.startswith("sha256:"):
            unread.append((len(records), each))
            records.append([])
        elif (entry := _entry(each, seconds.get(each.name), digest)) is not None:
            records.append(_record(each, entry))
    for (place, file), digest in zip(unread, _read_all([file for _, file in unread]), strict=True):
        entry = _entry(file, None, digest)
        assert entry is not None, "it is a file"  # noqa: S101
        records[place] = _record(file, entry)
    return ContextList(context, records, total)


def _of_extra(name: str, data: bytes) -> Record:
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    entry = Entry(kind=Kind.FILE, path=name, mode=0o600, mtime_ns=0, size=len(data), value=digest)
    return [name, 0, 0, 0, 0, 0, _line(entry)]


def _line(entry: Entry) -> str:
    return entry.line()[:-1].decode()


def _record(file: Found, entry: Entry) -> Record:
    status = file.status
    settled = max(status.st_mtime_ns, status.st_ctime_ns) < time.time_ns() - _STEP_NS
    return [file.name, *(_identity(status) if settled else [0, 0, 0, 0, 0]), _line(entry)]


def _identity(status: os.stat_result) -> list[int]:
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_mode]


def _second_names(found: Iterable[Found]) -> dict[str, str]:
    """Name -> an earlier one of the same file."""
    firsts: dict[tuple[int, int], str] = {}
    seconds: dict[str, str] = {}
    for each in found:
        status = each.status
        if status.st_nlink > 1 and status.st_ino and stat.S_ISREG(status.st_mode):
            first = firsts.setdefault((status.st_dev, status.st_ino), each.name)
            if first != each.name:
                seconds[each.name] = first
    return seconds


def _entry(found: Found, first: str | None, digest: str) -> Entry | None:
    """None for a socket or a device, which a context has not."""
    mode = found.status.st_mode
    kind, size, value = Kind.FILE, 0, ""
    if first is not None:
        kind, value = Kind.HARD_LINK, first
    elif stat.S_ISREG(mode):
        size, value = found.status.st_size, digest
    elif stat.S_ISDIR(mode):
        kind = Kind.DIRECTORY
    elif stat.S_ISLNK(mode):
        kind, value = Kind.SYMLINK, target_of(found.path)
    elif stat.S_ISFIFO(mode):
        kind = Kind.FIFO
    else:
        return None
    # Whole seconds, as in an archive: the same folder makes the same image however it was sent.
    seconds = int(found.status.st_mtime)
    return Entry(
        kind=kind,
        path=found.name,
        mode=0o777 if kind is Kind.SYMLINK else permissions(mode),
        mtime_ns=seconds * 1_000_000_000,
        size=size,
        value=value,
    )


def files_by_digest(lines: Iterable[bytes]) -> Mapping[str, Entry]:
    """The first file of each content."""
    made: dict[str, Entry] = {}
    for line in lines:
        if line.startswith(b'["f"'):
            entry = entry_of(line)
            made.setdefault(entry.value, entry)
    return made


def _read_all(files: list[Found]) -> list[str]:
    """Several at a time; one alone needs no threads, whose library takes as long to load as a small file."""
    if len(files) < _READERS:
        return [_digest(file) for file in files]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(_READERS) as readers:
        return list(readers.map(_digest, files))


def _digest(file: Found) -> str:
    try:
        with file.path.open("rb") as opened:
            return "sha256:" + hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as exc:
        raise UsageProblem(
            f"unable to prepare context: cannot read {file.path}: {exc.strerror}; "
            "correct its permissions, or name it in .dockerignore"
        ) from exc


def _content(found: Found, size: int) -> Iterator[bytes]:
    try:
        with found.path.open("rb") as file:
            left = size
            while left and (data := file.read(min(left, _CHUNK_BYTES))):
                left -= len(data)
                yield data
    except OSError as exc:
        raise UsageProblem(f"unable to send context: cannot read {found.path}: {exc.strerror}") from exc
    if left:
        raise UsageProblem(f"{found.path} became shorter while it was sent; build again")
