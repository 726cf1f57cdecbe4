"""What the engine tells the copying child, and what it answers: plain values, as one JSON document each."""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum

from wherryd.spec.mount import Mount


class Digest(StrEnum):
    """Whether the child says what the sources are, as one digest: beside the copying, or instead of it."""

    NONE = ""
    ALSO = "also"
    ONLY = "only"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inline:
    """A heredoc as a source: its name and its text."""

    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Sources of one place. directory: of ours, or "" for the files of source_mounts. patterns: below it.
    unpack: archives are unpacked."""

    directory: str = ""
    patterns: tuple[str, ...]
    unpack: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyOrder:
    """One COPY or ADD.

    mount_point: an empty directory of ours; the child covers it inside its own namespace. root: mounts of
    the image under work. source_mounts: of an image or stage. parts: what is copied, in order; without any,
    and without inline, only the destination is made. destination: absolute, a trailing slash means a
    directory. chown: "user:group" or ""; keep_owner: without it the source's owner stays. chmod: as
    `modes.parse` reads it, or "". parents: the source's folders are made too. merge: a file with the paths
    to make equal to the source's (merging.py), instead of a copy. digest: of the one part, whose files are
    those of root with ONLY.
    """

    mount_point: str
    root: tuple[Mount, ...]
    source_mounts: tuple[Mount, ...] = ()
    parts: tuple[Part, ...] = ()
    inline: tuple[Inline, ...] = ()
    destination: str
    chown: str = ""
    keep_owner: bool = False
    chmod: str = ""
    parents: bool = False
    excludes: tuple[str, ...] = ()
    keyword: str = "COPY"
    merge: str = ""
    digest: Digest = Digest.NONE


def encode(order: CopyOrder) -> bytes:
    return json.dumps(asdict(order)).encode()


def decode(data: bytes) -> CopyOrder:
    order = json.loads(data)
    for key in ("root", "source_mounts"):
        order[key] = tuple(
            Mount(each["type"], each["source"], each["target"], tuple(each["options"])) for each in order[key]
        )
    order["inline"] = tuple(Inline(**each) for each in order["inline"])
    order["parts"] = tuple(
        Part(directory=each["directory"], patterns=tuple(each["patterns"]), unpack=each["unpack"])
        for each in order["parts"]
    )
    order["excludes"] = tuple(order["excludes"])
    return CopyOrder(**order)
