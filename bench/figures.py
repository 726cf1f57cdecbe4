"""Samples and how they are written down."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """Samples of one measurement, in `unit`."""

    samples: tuple[float, ...]
    unit: str

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    def __str__(self) -> str:
        """Median with the smallest and the largest sample: `12.3 ms (11.0 to 19.4)`."""
        low, high = min(self.samples), max(self.samples)
        return f"{self.median:.3g} {self.unit} ({low:.3g} to {high:.3g})"


def seconds(action: Callable[[], object]) -> float:
    """How long one call takes."""
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def in_turn(actions: Sequence[Callable[[], float]], runs: int) -> list[tuple[float, ...]]:
    """`runs` samples of each action, taken A B A B; one uncounted warm-up of each comes first."""
    for action in actions:
        action()
    rounds = [[action() for action in actions] for _ in range(runs)]
    return [tuple(samples) for samples in zip(*rounds, strict=True)]


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"
