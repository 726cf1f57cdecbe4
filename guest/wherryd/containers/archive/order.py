"""What the engine tells the child: plain values, as one JSON document."""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from wherryd.spec.build import UserMount
from wherryd.spec.mount import Mount


class Verb(StrEnum):
    STAT = "stat"
    PACK = "pack"
    EXTRACT = "extract"
    EXPORT = "export"


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewOrder:
    """Which files the child sees.

    pidfd: of the container's process, whose mounts are used as they are (`mounts` only says which there are);
    -1 = it does not run. Then layers and mounts are put together on mount_point, an empty directory of ours.
    read_only_root: for the root alone. own_ids: that process is in a user namespace of its container.
    """

    pidfd: int = -1
    mount_point: str = ""
    layers: tuple[Mount, ...] = ()
    mounts: tuple[UserMount, ...] = ()
    read_only_root: bool = False
    own_ids: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveOrder:
    """path: inside the container, as the client gave it. coding: of what is sent, gzip, deflate or none.

    no_overwrite: no directory is replaced by something else or the other way round. owner: "user:group" to
    whom everything is given, or "".
    """

    verb: Verb
    view: ViewOrder
    path: str = "/"
    coding: str = ""
    no_overwrite: bool = False
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """control: a SOCK_SEQPACKET socket for the child's answers."""

    order: ArchiveOrder
    control: int

    def encode(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def decode(cls, text: str) -> "Job":
        document = json.loads(text)
        order: dict[str, Any] = document["order"]
        view: dict[str, Any] = order["view"]
        view["layers"] = tuple(
            Mount(**{**each, "options": tuple(each["options"])}) for each in view["layers"]
        )
        view["mounts"] = tuple(
            UserMount(**{**each, "options": tuple(each["options"])}) for each in view["mounts"]
        )
        order["view"], order["verb"] = ViewOrder(**view), Verb(order["verb"])
        return cls(ArchiveOrder(**order), document["control"])
