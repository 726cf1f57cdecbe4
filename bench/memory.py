"""What an engine's own processes take when containers run that do nothing."""

import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.engines import IMAGE
from bench.figures import table
from bench.rivals import Engine, running

COUNTS = (1, 50, 200)
ENGINES = ("wherryd", "dockerd")
_SETTLE_SECONDS = 3.0
_OURS = ("wherryd", "wherry-zygote", "wherry-monitor")
_THEIRS = ("dockerd", "containerd", "containerd-shim", "docker-proxy")


def pss(pid: int) -> int:
    """Proportional set size in bytes; 0 when the process has ended. Source: proc_pid_smaps_rollup(5)."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _stat(pid: int) -> tuple[str, int]:
    """(name, parent's pid)."""
    name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
    return name, int(rest.split()[1])


def _all() -> Iterator[tuple[int, str, int]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                yield (int(entry.name), *_stat(int(entry.name)))
            except (FileNotFoundError, ProcessLookupError):
                continue


def processes(engine: Engine) -> list[int]:
    """The daemon and what it or its helpers have forked to serve containers, not the containers."""
    daemon = int((engine.root / f"{engine.name}.pid").read_text())
    everything = list(_all())
    found = {daemon}
    while True:
        more = {
            pid
            for pid, name, parent in everything
            if parent in found and pid not in found and name.startswith((*_OURS, *_THEIRS))
        }
        if not more:
            break
        found |= more
    # Shims and monitors are nobody's children for long; whose they are is in a path.
    return sorted(
        found | {pid for pid, name, _ in everything if name.startswith(_THEIRS) and _ours(pid, engine)}
    )


def _ours(pid: int, engine: Engine) -> bool:
    try:
        return str(engine.root).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


def measure(engine: Engine) -> list[int]:
    """PSS in bytes of all its processes, with each of COUNTS containers."""
    body = {"Image": IMAGE, "Cmd": ["busybox", "sleep", "100000"]}
    containers: list[str] = []
    figures = []
    try:
        for count in COUNTS:
            while len(containers) < count:
                containers.append(engine.api.create(body))
                engine.api.start(containers[-1])
            time.sleep(_SETTLE_SECONDS)
            figures.append(sum(map(pss, processes(engine))))
    finally:
        for each in containers:
            engine.api.remove(each, force=True)
    return figures


def report() -> str:
    """The section of docs/benchmarks.md. Needs root, dockerd and busybox-static."""
    with tempfile.TemporaryDirectory(prefix="wherry-bench-") as folder:
        root = Path(folder)
        taken = {}
        for name in ENGINES:
            with running(root, name) as engine:
                taken[name] = measure(engine)
    rows = [
        [
            f"{count} idle containers",
            f"{ours / 2**20:.1f} MiB",
            f"{theirs / 2**20:.1f} MiB",
            f"{ours / theirs:.2f}",
        ]
        for count, ours, theirs in zip(COUNTS, *taken.values(), strict=True)
    ]
    return (
        "## Memory\n\n"
        "Proportional set size of every process the engine needs: wherryd, its zygote and the processes of "
        "monitors; dockerd, containerd and the shims. The containers' own processes do not count.\n\n"
        + table(["", "wherryd", "dockerd", "wherryd / dockerd"], rows)
    )
