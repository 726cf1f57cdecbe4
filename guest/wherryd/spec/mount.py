"""A mount as a value: what snapshots hand out and the runtime carries out."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount(2).

    type: file system type ("overlay", "bind", ...). source: device or directory on the engine's side.
    target: path below the root file system, "" for the root itself. options: as mount(8) takes them
    ("ro", "lowerdir=/a:/b").
    """

    type: str
    source: str
    target: str = ""
    options: tuple[str, ...] = ()
