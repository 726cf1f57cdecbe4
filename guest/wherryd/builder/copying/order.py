"""What the engine tells the copying child, and what it answers: plain values, as one JSON document each."""

import json
from dataclasses import asdict, dataclass

from wherryd.spec.mount import Mount


@dataclass(frozen=True, slots=True, kw_only=True)
class Inline:
    """A heredoc as a source: its name and its text."""

    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyOrder:
    """One COPY or ADD.

    mount_point: an empty directory of ours; the child covers it inside its own namespace. root: mounts of
    the image under work. source_directory: the context, or "" and source_mounts of an image or stage.
    sources: patterns below the source. destination: absolute, a trailing slash means a directory.
    chown: "user:group" or ""; keep_owner: without it the source's owner stays. chmod: octal or None.
    unpack: archives are unpacked. parents: the source's folders are made too.
    """

    mount_point: str
    root: tuple[Mount, ...]
    source_directory: str = ""
    source_mounts: tuple[Mount, ...] = ()
    sources: tuple[str, ...] = ()
    inline: tuple[Inline, ...] = ()
    destination: str
    chown: str = ""
    keep_owner: bool = False
    chmod: int | None = None
    unpack: bool = False
    parents: bool = False
    excludes: tuple[str, ...] = ()
    keyword: str = "COPY"
    #: WORKDIR: only make the destination.
    only_directory: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    order: CopyOrder
    control: int

    def encode(self) -> str:
        return json.dumps({"order": asdict(self.order), "control": self.control})

    @classmethod
    def decode(cls, text: str) -> "Job":
        document = json.loads(text)
        order = document["order"]
        for key in ("root", "source_mounts"):
            order[key] = tuple(
                Mount(each["type"], each["source"], each["target"], tuple(each["options"]))
                for each in order[key]
            )
        order["inline"] = tuple(Inline(**each) for each in order["inline"])
        for key in ("sources", "excludes"):
            order[key] = tuple(order[key])
        return cls(CopyOrder(**order), document["control"])
