"""A build of a large folder in a real machine: all of it goes through the tunnel once, then what changed."""

import tempfile
from functools import partial
from pathlib import Path

from bench.builder import CHANGE, large_context
from bench.engines import IMAGE, busybox_tar
from bench.figures import Figure, in_turn, seconds, table
from bench.vm import Machine

RUNS = 5


def report(machine: Machine) -> str:
    """The section of docs/benchmarks.md; the machine runs."""
    with tempfile.TemporaryDirectory(prefix="wherry-bench-") as name:
        root = Path(name)
        busybox_tar(root / "busybox.tar")
        machine.wherry("import", str(root / "busybox.tar"), IMAGE)
        folder = large_context(root)
        app = folder / "app"
        # What the RUN step takes is the RUN step's.
        copies = folder / "Dockerfile.copies"
        copies.write_text(CHANGE.replace("RUN true\n", ""))

        def build(dockerfile: Path) -> None:
            machine.wherry("build", "-q", "-t", "bench:change", "-f", str(dockerfile), str(folder))

        def changed(dockerfile: Path) -> float:
            with app.open("a") as file:
                file.write("a line\n")
            return seconds(partial(build, dockerfile))

        whole = folder / "Dockerfile"
        first = seconds(partial(build, whole))
        # In this order: the last one finds what the one before it has built.
        copied, after, again = in_turn(
            [partial(changed, copies), partial(changed, whole), partial(seconds, partial(build, whole))], RUNS
        )
    return (
        "## A build through the tunnel\n\n"
        f"`wherry build` of a folder of 300 MB in 3,000 files; the Dockerfile copies it, "
        f"copies one more file and runs `true`. {RUNS} builds each, in turn, median (smallest "
        "to largest).\n\n"
        + table(
            ["", "time"],
            [
                ["first, everything is sent", f"{first:.3g} s"],
                ["again, nothing changed", Figure(again, "s")],
                ["one line changed in the one file", Figure(after, "s")],
                ["one line changed, without the RUN step", Figure(copied, "s")],
            ],
        )
    )
