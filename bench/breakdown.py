"""Where each millisecond of a start goes: clocks around the engine's own functions, put in from outside.

The clocks are bench/probe/sitecustomize.py; a run with them takes a few per cent longer than one without.
"""

import json
import os
import statistics
import struct
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.api import Api
from bench.engines import IMAGE
from bench.figures import table
from bench.probe import sitecustomize as probe
from bench.rivals import running

RUNS = 30
_WARM_UP = 3
#: Background work after a removal is let finish before the next run.
_PAUSE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Edge:
    """A moment: the begin or the end of a function's call. "" stands for the client's call of that name."""

    function: str
    at_end: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """A stretch of time. beside: it runs while another step of the table does."""

    title: str
    where: str
    begin: Edge
    end: Edge
    beside: bool = False


def call(title: str, where: str, function: str, *, beside: bool = False) -> Step:
    """One function, from its begin to its end."""
    return Step(title, where, Edge(function), Edge(function, at_end=True), beside)


_P = "wherryd."
_CREATE = _P + "containers.creation.create"
_LAUNCH = _P + "containers.launch.launch"
_ATTACH = _P + "containers.networking.attach"
_ASK = _P + "runtime.client.RuntimeClient._ask"
_LOAD = _P + "runtime.container.Container.load"
_BEGIN = _P + "runtime.launch.begin_init"
#: Of all that init does, the first that comes to an end.
_INIT = _P + "runtime.child.let_go"
_ROOT = _P + "runtime.rootfs.build"
_ENTER = _P + "runtime.rootfs.enter"
_GATE = _P + "runtime.init.wait_for_start"
_PASSED = _P + "runtime.monitor.Monitor._passed"
_DONE = _P + "runtime.monitor.Monitor._init_done"
_ENDED = _P + "containers.lifecycle.Lifecycle.ended"
_REMOVE = _P + "containers.lifecycle.Lifecycle.remove"
_DELETE = _P + "containers.removal.delete_data"

STEPS = (
    Step("**create**, as the client sees it", "client", Edge("create"), Edge("create", at_end=True)),
    call("name, configuration, record in the database", "daemon", _P + "containers.store.ContainerStore.add"),
    call("writable layer", "daemon", _P + "images.service.ImageService.prepare_rootfs"),
    Step("**start**, as the client sees it", "client", Edge("start"), Edge("start", at_end=True)),
    Step("HTTP, routing, state checks", "daemon", Edge("start"), Edge(_LAUNCH)),
    call("network: address, veth pair into a ready sandbox", "daemon", _ATTACH),
    Step("hosts, resolv.conf, OCI config, bundle", "daemon", Edge(_ATTACH, at_end=True), Edge(_ASK)),
    Step("request to a monitor", "daemon, monitor", Edge(_ASK), Edge(_LOAD)),
    call("config read and checked, seccomp filter found", "monitor", _LOAD),
    Step("fork of init, up to its first line", "monitor", Edge(_BEGIN), Edge(_INIT)),
    Step("descriptors, namespaces, sysctls", "init", Edge(_INIT), Edge(_ROOT)),
    call("cgroups, limits, device rules", "monitor", _P + "cgroups.v1.CgroupV1.create", beside=True),
    call("root file system: overlay and mounts, joining the cgroups", "init", _ROOT),
    Step("device nodes, masks, user, streams", "init", Edge(_ROOT, at_end=True), Edge(_ENTER)),
    call("pivot_root", "init", _ENTER),
    Step("capabilities, limits, the program found", "init", Edge(_ENTER, at_end=True), Edge(_GATE)),
    Step("state on disk, start gate", "monitor, init", Edge(_GATE), Edge(_GATE, at_end=True)),
    Step("seccomp filter, exec", "init, kernel", Edge(_GATE, at_end=True), Edge(_PASSED)),
    Step("told to the daemon", "monitor, daemon", Edge(_PASSED), Edge(_LAUNCH, at_end=True)),
    Step("record, event, answer", "daemon", Edge(_LAUNCH, at_end=True), Edge("start", at_end=True)),
    Step("**wait**, as the client sees it", "client", Edge("wait"), Edge("wait", at_end=True)),
    Step("exit status on disk, told to the daemon", "monitor, daemon", Edge(_DONE), Edge(_ENDED)),
    call("record, event, waiters told; the rest goes on behind", "daemon", _ENDED),
    Step("**remove**, as the client sees it", "client", Edge("remove"), Edge("remove", at_end=True)),
    Step("cgroups gone, monitor gone", "monitor, daemon", Edge(_REMOVE), Edge(_DELETE)),
    call("layer and files deleted", "daemon", _DELETE),
)

Moments = dict[Edge, int]


def points() -> dict[str, list[str]]:
    """Module -> functions to be timed."""
    found: dict[str, set[str]] = {}
    for step in STEPS:
        for edge in (step.begin, step.end):
            if edge.function.startswith(_P):
                module, name = _split(edge.function)
                found.setdefault(module, set()).add(name)
    return {module: sorted(names) for module, names in found.items()}


def _split(function: str) -> tuple[str, str]:
    """("wherryd.runtime.monitor", "Monitor._passed"): a class begins with a capital."""
    parts = function.split(".")
    last = next((number for number, part in enumerate(parts) if part[0].isupper()), len(parts) - 1)
    return ".".join(parts[:last]), ".".join(parts[last:])


@contextmanager
def probed(root: Path) -> Iterator[Path]:
    """The environment of an engine with clocks, as long as the block runs; the file they write to."""
    file = root / "probe"
    file.touch()
    os.truncate(file, probe.SIZE)
    changed = {
        "WHERRY_PROBE_FILE": str(file),
        "WHERRY_PROBE_POINTS": json.dumps(points()),
        "PYTHONPATH": os.pathsep.join([str(Path(probe.__file__).parent), os.environ.get("PYTHONPATH", "")]),
    }
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield file
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def one_run(api: Api) -> Moments:
    """The client's own moments, in nanoseconds of the monotonic clock."""
    moments: Moments = {}
    container = ""
    for name in ("create", "start", "wait", "remove"):
        moments[Edge(name)] = time.monotonic_ns()
        if name == "create":
            container = api.create({"Image": IMAGE, "Cmd": ["true"]})
        else:
            getattr(api, name)(container)
        moments[Edge(name, at_end=True)] = time.monotonic_ns()
    return moments


def add_recorded(moments: Moments, data: bytes) -> None:
    """The engine's moments since the client's first; of a function that was called again, the first call."""
    earliest = moments[Edge("create")]
    calls: list[tuple[int, int, str]] = []
    for at in range(0, probe.SIZE, probe.SLOT_BYTES):
        (length,) = struct.unpack_from("=I", data, at)
        for line in data[at + 4 : at + 4 + length].decode(errors="replace").splitlines():
            name, _, times = line.partition(" ")
            begin, _, end = times.partition(" ")
            if begin.isdigit() and end.isdigit() and int(begin) >= earliest:
                calls.append((int(begin), int(end), name))
    for began, ended, name in sorted(calls):
        moments.setdefault(Edge(name), began)
        moments.setdefault(Edge(name, at_end=True), ended)


def rows(runs: Sequence[Moments]) -> list[list[object]]:
    """A row per step: its median in milliseconds."""
    found: list[list[object]] = []
    for step in STEPS:
        samples = [
            (each[step.end] - each[step.begin]) / 1e6
            for each in runs
            if step.begin in each and step.end in each and each[step.end] >= each[step.begin]
        ]
        figure = f"{statistics.median(samples):.2f}" if samples else "-"
        found.append([step.title, step.where, f"({figure}, beside the next)" if step.beside else figure])
    return found


def report() -> str:
    """The part of docs/benchmarks.md's section about starts. Needs root and busybox-static."""
    with tempfile.TemporaryDirectory(prefix="wherry-bench-") as folder, probed(Path(folder)) as file:
        runs = []
        with running(Path(folder), "wherryd") as engine:
            for number in range(_WARM_UP + RUNS):
                moments = one_run(engine.api)
                time.sleep(_PAUSE_SECONDS)
                add_recorded(moments, file.read_bytes())
                if number >= _WARM_UP:
                    runs.append(moments)
    return (
        f"Where each millisecond of wherryd's goes, medians of {RUNS} runs with clocks around its functions; "
        "steps follow one another, a step that runs beside another is in brackets.\n\n"
        + table(["step", "who", "ms"], rows(runs))
    )
