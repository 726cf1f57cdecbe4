"""What a test may leave behind on the machine, counted before and after.

    with leaks.none_left():
        ...                     # anything that makes devices, namespaces, rules, mounts, cgroups, processes

Works for every guest test. On a machine where other tests run at the same time, `within` keeps to what
is one's own: a piece of text that all one's names have in them (a bridge's name, a temporary folder).
"""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

SETTLE_SECONDS = 5.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Each a set of texts. namespaces: files that namespaces are bound to. processes: "pid command"."""

    links: frozenset[str]
    nft_tables: frozenset[str]
    namespaces: frozenset[str]
    mounts: frozenset[str]
    cgroups: frozenset[str]
    processes: frozenset[str]

    def since(self, before: "Snapshot", within: str = "") -> list[str]:
        """What is here and was not there before, as "kind: text"; `within` must be part of the text."""
        found = []
        for field in fields(self):
            new = getattr(self, field.name) - getattr(before, field.name)
            found += [f"{field.name}: {text}" for text in sorted(new) if within in text]
        return found


def take() -> Snapshot:
    """Needs root, for the rule set."""
    mounts = _mounts()
    return Snapshot(
        links=frozenset(_links()),
        nft_tables=frozenset(_nft_tables()),
        namespaces=frozenset(place for place, kind in mounts if kind == "nsfs"),
        mounts=frozenset(f"{kind} on {place}" for place, kind in mounts if kind != "nsfs"),
        cgroups=frozenset(_cgroups()),
        processes=frozenset(_processes()),
    )


def of_engine(name: str, folder: Path, pid: int, before: Snapshot, *, ready: int) -> list[str]:
    """What is there of an engine beyond the engine itself (its device, table, cgroup, its process and the
    zygote, a child) and so many namespaces that it keeps ready."""
    after = take()
    found = {*after.since(before, name), *after.since(before, str(folder))}
    namespaces = {each for each in found if each.startswith("namespaces:")}
    kept = {each for each in found if each.endswith(name) or "wherryd.daemon.main" in each}
    kept |= {each for each in found if "wherryd.runtime.zygote" in each and _parent(each.split()[1]) == pid}
    # Each is two files of one name: of the network namespace, and of the user namespace that owns it.
    names = {each.rpartition("/")[2] for each in namespaces}
    return sorted(found - kept - (namespaces if len(names) <= ready else set()))


def _parent(pid: str) -> int:
    """0 for a process that is gone."""
    try:
        return int(Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[1])
    except FileNotFoundError:
        return 0


@contextmanager
def none_left(within: str = "", settle_seconds: float = SETTLE_SECONDS) -> Iterator[None]:
    """Fails when the body leaves something. The kernel removes devices late, so it is given some time."""
    before = take()
    yield
    deadline = time.monotonic() + settle_seconds
    while (left := take().since(before, within)) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    assert not left, "left behind: " + "; ".join(left)


def _links() -> Iterator[str]:
    """ "name" or "name in bridge"."""
    for path in Path("/sys/class/net").iterdir():
        master = path / "master"
        try:
            yield f"{path.name} in {master.readlink().name}"
        except FileNotFoundError:
            yield path.name


def _nft_tables() -> list[str]:
    done = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.splitlines()


def _mounts() -> list[tuple[str, str]]:
    """(where, file system type). Source: proc(5), mountinfo."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        found.append((before.split()[4].encode().decode("unicode_escape"), after.split()[0]))
    return found


def _cgroups() -> Iterator[str]:
    for folder, _, _ in os.walk("/sys/fs/cgroup"):
        yield folder


def _processes() -> Iterator[str]:
    """Those of the engine: "wherry" is in the command line. This very process is not counted."""
    for path in Path("/proc").iterdir():
        if not path.name.isdigit() or path.name == str(os.getpid()):
            continue
        try:
            command = path.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if "wherry" in command:
            yield f"{path.name} {command.strip()}"
