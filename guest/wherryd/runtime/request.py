"""What the client asks the processes of monitors for, one packet each on their control sockets.

A CreateRequest, as JSON, comes with our end of the connection to the monitor; FORK, which only the zygote
is asked for, with the control socket of the new process.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from wherryd.runtime.types import ContainerIo
from wherryd.spec.mount import Mount

#: A request is an id, some paths and a mount per layer.
MAX_REQUEST_BYTES: Final = 128 * 1024
#: No JSON begins so.
FORK: Final = b"fork"
#: The zygote's only word: everything is imported.
READY: Final = b"ready"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateRequest:
    """start: the container is not to wait at its start gate. runtime: another one's command; empty: ours."""

    container_id: str
    exec_root: Path
    bundle: Path
    layers: tuple[Mount, ...]
    io: ContainerIo
    start: bool = False
    runtime: tuple[str, ...] = ()

    def encode(self) -> bytes:
        return json.dumps(asdict(self), default=str).encode()

    @staticmethod
    def decode(data: bytes) -> "CreateRequest":
        document = json.loads(data)
        io = document["io"]
        size = io["console_size"]
        return CreateRequest(
            container_id=document["container_id"],
            exec_root=Path(document["exec_root"]),
            bundle=Path(document["bundle"]),
            layers=_layers(document["layers"]),
            io=ContainerIo(
                **io
                | {
                    "log_path": Path(io["log_path"]) if io["log_path"] else None,
                    "console_size": (size[0], size[1]) if size else None,
                }
            ),
            start=document["start"],
            runtime=tuple(document["runtime"]),
        )


def _layers(documents: Sequence[dict[str, object]]) -> tuple[Mount, ...]:
    return tuple(
        Mount(
            type=str(each["type"]),
            source=str(each["source"]),
            target=str(each["target"]),
            options=tuple(each["options"]),  # type: ignore[arg-type]
        )
        for each in documents
    )
