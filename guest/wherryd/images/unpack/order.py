"""What the unpacking child is told, and how far it may go: all that its parent needs to know of it."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Ratio:
    """What a compressed archive may grow to: `times` its size, once it is larger than `from_bytes`.

    With nothing but zeros gzip reaches 230 to 1032, by its level, and the others thousands; file systems that
    people pack stay below 20.
    """

    times: int = 200
    from_bytes: int = 2 * 1024**3


@dataclass(frozen=True, slots=True)
class Limits:
    """More than real images have, less than what hurts the machine."""

    entries: int = 2_000_000
    bytes: int = 256 * 1024**3
    trailing_bytes: int = 64 * 1024 * 1024
    ratio: Ratio = field(default_factory=Ratio)


@dataclass(frozen=True, slots=True)
class Order:
    """What the engine tells the child, as one JSON argument."""

    directory: str
    overlay: bool
    control: int
    recipe: int
    max_entries: int
    max_bytes: int
    ratio: tuple[int, int]
