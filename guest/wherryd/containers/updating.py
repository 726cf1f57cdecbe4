"""`POST /containers/{id}/update`: new limits and a new restart policy, also while it runs.

Source: Engine API 1.51, ContainerUpdate. Zero and null leave a limit as it is.
"""

from collections.abc import Mapping
from typing import Any, Final

from wherryd.containers import kinds, request
from wherryd.containers.deps import Deps
from wherryd.containers.fields import HOST_CONFIG, LIMITS
from wherryd.containers.record import ContainerRecord
from wherryd.containers.state import Status
from wherryd.containers.store import Container
from wherryd.errors import Conflict
from wherryd.spec import build

#: Fields of HostConfig that can be changed; with RestartPolicy.
UPDATABLE: Final = (
    "BlkioWeight",
    "CpuPeriod",
    "CpuQuota",
    "CpuRealtimePeriod",
    "CpuRealtimeRuntime",
    "CpuShares",
    "CpusetCpus",
    "CpusetMems",
    "Memory",
    "MemoryReservation",
    "MemorySwap",
    "NanoCpus",
    "PidsLimit",
)
_KEPT: Final = (*UPDATABLE, "RestartPolicy")


async def update(deps: Deps, container: Container, body: Mapping[str, Any]) -> list[str]:
    """Warnings. Raises InvalidParameter or NotSupported for values, Conflict, SystemFault from the kernel."""
    async with container.lock:
        record = container.record
        _check(record, body)
        changes = {key: body[key] for key in UPDATABLE if body.get(key)}
        if (body.get("RestartPolicy") or {}).get("Name"):
            changes["RestartPolicy"] = body["RestartPolicy"]
        former = {key: record.host_config[key] for key in _KEPT}
        checked = request.parse({"HostConfig": {**former, **changes}})
        host = {**record.host_config, **{key: checked.host_config[key] for key in _KEPT}}
        if container.monitor is not None and record.alive:
            wanted = build.resources(
                host, block_io={"weight": host["BlkioWeight"]} if host["BlkioWeight"] else {}
            )
            wanted.pop("devices", None)
            await container.monitor.update(wanted)
        record = deps.store.update(container, host_config=host)
    deps.publish(record, "update")
    return [*checked.warnings, *_left_out(body)]


def _check(record: ContainerRecord, body: Mapping[str, Any]) -> None:
    if record.status in (Status.REMOVING, Status.DEAD):
        raise Conflict(
            f"Cannot update container {record.id}: container is marked for removal and cannot be updated"
        )
    policy = kinds.mapping(body.get("RestartPolicy") or {}, "RestartPolicy").get("Name")
    if record.auto_remove and policy not in (None, "", "no"):
        raise Conflict("Restart policy cannot be updated because AutoRemove is enabled for the container")


def _left_out(body: Mapping[str, Any]) -> list[str]:
    """What an update document may name and no running container can be given."""
    return [
        f"{key}: cannot be changed by an update; create the container anew with it"
        for key in LIMITS
        if key not in UPDATABLE and body.get(key) and body[key] != HOST_CONFIG[key].default
    ]
