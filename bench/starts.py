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


def at_once(engine: Engine, each_took: list[float]) -> float:
    """Seconds until AT_ONCE containers run, each asked for on a connection of its own; they exist before.

    each_took: gets for each of them the milliseconds until its start was answered.
    """
    body = {"Image": IMAGE, "Cmd": ["busybox", "sleep", "1000"]}
    containers = [engine.api.create(body) for _ in range(AT_ONCE)]
    connections = [engine.api.another() for _ in containers]

    def start_all(pool: ThreadPoolExecutor) -> None:
        starts = [partial(api.start, each) for api, each in zip(connections, containers, strict=True)]
        waiting = [pool.submit(seconds, start) for start in starts]
        each_took.extend(1000 * done.result() for done in waiting)

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
    return _row(title, [Figure(each, unit) for each in samples])


def _row(title: str, figures: list[Figure]) -> list[object]:
    ours, *theirs = figures
    ratios = " / ".join(f"{each.median / ours.median:.1f}" for each in theirs)
    return [title, *figures, ratios]


def at_once_rows(engines: list[Engine]) -> list[list[object]]:
    """All AT_ONCE together, and each of them; the warm-up's count for neither."""
    took: dict[str, list[float]] = {each.name: [] for each in engines}
    whole = row(
        f"API: {AT_ONCE} starts at once, all",
        engines,
        lambda engine: at_once(engine, took[engine.name]),
        AT_ONCE_RUNS,
        "s",
    )
    single = [Figure(tuple(took[each.name][AT_ONCE:]), "ms") for each in engines]
    return [whole, _row(f"API: {AT_ONCE} starts at once, each", single)]


def report() -> str:
    """The section of docs/benchmarks.md. Needs root, dockerd, podman, crun, runc and busybox-static."""
    with tempfile.TemporaryDirectory(prefix="wherry-bench-") as folder, all_running(Path(folder)) as engines:
        rows = [
            row("API: create, start, wait, remove", engines, whole_life, RUNS, "ms"),
            row("`docker run --rm IMAGE true`", engines, _by_command, RUNS, "ms"),
            *at_once_rows(engines),
        ]
    names = [each.name for each in engines]
    return (
        "## A container's start\n\n"
        f"`true` from a static busybox, bridge network, {RUNS} runs each in turn ({AT_ONCE_RUNS} of "
        f"{AT_ONCE} at once, so {AT_ONCE_RUNS * AT_ONCE} starts), median (smallest to largest). Engines run "
        "natively, in namespaces of their own, with their exec roots on a tmpfs; the API is asked by "
        "Python's http.client over the unix socket, one connection kept. "
        f"{versions()}; podman runs its containers with crun.\n\n"
        + table(["", *names, f"{' / '.join(names[1:])} : wherryd"], rows)
        + "\n"
        + breakdown.report()
    )


def _by_command(engine: Engine) -> float:
    return milliseconds(engine.host, "run", "--rm", IMAGE, "true")
