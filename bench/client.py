"""What one call of a client costs: `wherry ps`, `docker ps` and a bare interpreter, in turn, on one engine.

Bar: `wherry ps` takes at most six times the start of a bare interpreter.
"""

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.figures import Figure, in_turn, seconds, table
from bench.rivals import running

RUNS = int(os.environ.get("WHERRY_BENCH_RUNS", "25"))
#: As the installed command has it, apart from where the interpreter is.
_ENTRY = "from wherry.cli.entry import run; run()"


@dataclass(frozen=True, slots=True)
class Client:
    title: str
    command: Sequence[str]


def _clients() -> list[Client]:
    return [
        Client("bare interpreter", [sys.executable, "-c", "pass"]),
        Client("`docker ps`", ["docker", "ps"]),
        Client("`wherry ps`", [sys.executable, "-c", _ENTRY, "ps"]),
        Client("`wherry images`", [sys.executable, "-c", _ENTRY, "images"]),
        Client("`wherry version`", [sys.executable, "-c", _ENTRY, "version"]),
    ]


def report() -> str:
    with (
        tempfile.TemporaryDirectory(prefix="wherry-bench-") as folder,
        running(Path(folder), "wherryd") as engine,
    ):
        environ = {**os.environ, "DOCKER_HOST": engine.host, "WHERRY_HOST": engine.host}
        # A user's interpreter keeps what it has compiled.
        environ.pop("PYTHONDONTWRITEBYTECODE", None)
        environ["PYTHONPYCACHEPREFIX"] = folder
        return _section(environ)


def _section(environ: Mapping[str, str]) -> str:
    clients = _clients()
    cpu: list[list[float]] = [[] for _ in clients]

    def call(number: int) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        wall = seconds(
            lambda: subprocess.run(
                clients[number].command, env=environ, stdout=subprocess.DEVNULL, check=True
            )
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu[number].append(1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))
        return 1000 * wall

    walls = in_turn([partial(call, number) for number in range(len(clients))], RUNS)
    figures = [
        (Figure(wall, "ms"), Figure(tuple(used[1:]), "ms"))  # the first is the warm-up
        for wall, used in zip(walls, cpu, strict=True)
    ]
    bare = figures[0][1].median
    rows = [
        (client.title, wall, used, f"{used.median / bare:.1f}")
        for client, (wall, used) in zip(clients, figures, strict=True)
    ]
    return (
        "## One call of a client\n\n"
        f"{RUNS} calls each, in turn: median, least and most. CPU: user and system time. "
        "Bar: `wherry ps` in at most six times a bare interpreter.\n\n"
        + table(("what", "time", "CPU", "CPU, bare interpreters"), rows)
    )
