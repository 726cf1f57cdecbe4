"""What the parts of this package share: services, folders, settings. Built once by the daemon."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wherryd.containers.events import EventBus
from wherryd.containers.files import ContainerFiles
from wherryd.containers.logwatch import LogWatcher
from wherryd.containers.record import ContainerRecord
from wherryd.containers.store import ContainerStore
from wherryd.containers.volumes import VolumeStore
from wherryd.images.service import ImageService
from wherryd.networks.service import NetworkService
from wherryd.runtime import idmap
from wherryd.runtime.client import RuntimeClient

#: The name of our own runtime.
OWN_RUNTIME = "wherry-runc"
#: What clients call the runtime that there always is; ours stands in unless one of that name is configured.
STAND_IN_FOR = frozenset({"runc", "io.containerd.runc.v2"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    data_root: Path
    exec_root: Path
    cgroup_parent: str
    runtime: RuntimeClient
    images: ImageService
    networks: NetworkService
    store: ContainerStore
    volumes: VolumeStore
    events: EventBus
    logs: LogWatcher
    #: Whether a container that says nothing about it has an init process.
    default_init: bool = False
    #: What can be id-mapped; None = containers have the host's ids (--userns-remap).
    id_trial: idmap.Trial | None = None
    #: LogConfig of a container that names none: --log-driver and --log-opt.
    default_log: Mapping[str, Any] = field(default_factory=lambda: {"Type": "json-file", "Config": {}})
    #: Name -> command of another OCI runtime, () for our own; the first one is the default.
    runtimes: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {OWN_RUNTIME: ()})
    #: What this engine can hand out at most: names of its own bounding set.
    capabilities: Sequence[str] = field(default_factory=tuple)

    def files(self, container_id: str) -> ContainerFiles:
        return ContainerFiles(self.data_root / "containers" / container_id)

    def bundle(self, container_id: str) -> Path:
        """config.json and the mount point of the root; made at each start, gone after each exit."""
        return self.exec_root / "bundles" / container_id

    def publish(
        self, record: ContainerRecord, action: str, attributes: Mapping[str, str] | None = None
    ) -> None:
        """A container event: all labels, image and name, and what belongs to the action."""
        self.events.publish(
            "container",
            action,
            record.id,
            {**record.labels, "image": record.image, "name": record.name, **(attributes or {})},
        )
