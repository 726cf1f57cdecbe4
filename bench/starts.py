"""How long a container takes from create to remove: over the API, with docker's command, fifty at once."""

import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from bench import breakdown
from bench.engines import IMAGE, milliseconds
from bench.figures import Figure, in_turn, seconds, table
from bench.rivals import Engine, all_running, versions

RUNS = 30
AT_ONCE = 50
AT_ONCE_RUNS = 3

BODY = {"Image": IMAGE, "Cmd": ["true"]}


def whole_life(engine: Engine) -> float:
    """Milliseconds of create, start, wait and remove of `true` on the bridge network."""
    return 1000 * seconds(partial(_live, engine))


def _live(engine: Engine) -> None:
    api = engine.api
    container = api.create(BODY)
    api.start(container)
    status = api.wait(container)
    api.remove(container)
    if status != 0:
        raise RuntimeError(f"{engine.name}: `true` ended with {status}")


def at_once(engine: Engine) -> float:
    """Seconds until AT_ONCE containers run, each asked for on a connection of its own; they exist before."""
    body = {"Image": IMAGE, "Cmd": ["busybox", "sleep", "1000"]}
    containers = [engine.api.create(body) for _ in range(AT_ONCE)]
    connections = [engine.api.another() for _ in containers]

    def start_all(pool: ThreadPoolExecutor) -> None:
        for done in [pool.submit(api.start, each) for api, each in zip(connections, containers, strict=True)]:
            done.result()

    try:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return seconds(partial(start_all, pool))
    finally:
        for api in connections:
            api.close()
        for each in containers:
            engine.api.remove(each, force=True)


def row(
    title: str, engines: list[Engine], action: Callable[[Engine], float], runs: int, unit: str
) -> list[object]:
    """Figures taken in turn, and how many times as long each rival took."""
    samples = in_turn([partial(action, each) for each in engines], runs)
    figures = [Figure(each, unit) for each in samples]
    ours, *theirs = figures
    ratios = " / ".join(f"{each.median / ours.median:.1f}" for each in theirs)
    return [title, *figures, ratios]


def report() -> str:
    """The section of docs/benchmarks.md. Needs root, dockerd, podman, crun, runc and busybox-static."""
    with tempfile.TemporaryDirectory(prefix="wherry-bench-") as folder, all_running(Path(folder)) as engines:
        rows = [
            row("API: create, start, wait, remove", engines, whole_life, RUNS, "ms"),
            row("`docker run --rm IMAGE true`", engines, _by_command, RUNS, "ms"),
            row(f"API: {AT_ONCE} starts at once", engines, at_once, AT_ONCE_RUNS, "s"),
        ]
    names = [each.name for each in engines]
    return (
        "## A container's start\n\n"
        f"`true` from a static busybox, bridge network, {RUNS} runs each in turn ({AT_ONCE_RUNS} of the last "
        "line), median (smallest to largest). All engines run natively, in namespaces of their own, with "
        "their exec roots on a tmpfs; the API is asked by Python's http.client over the unix socket, one "
        f"connection kept. {versions()}; podman runs its containers with crun.\n\n"
        + table(["", *names, f"{' / '.join(names[1:])} : wherryd"], rows)
        + "\n"
        + breakdown.report()
    )


def _by_command(engine: Engine) -> float:
    return milliseconds(engine.host, "run", "--rm", IMAGE, "true")
