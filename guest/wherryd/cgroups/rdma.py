"""RDMA handles and objects, by device. Kernel: admin-guide/cgroup-v1/rdma.rst; the same file in v2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from wherryd.cgroups.files import Write

if TYPE_CHECKING:
    from wherryd.spec.oci import RdmaLimit

CONTROLLER = "rdma"


def writes(limits: Sequence[RdmaLimit]) -> list[Write]:
    found = []
    for each in limits:
        parts = [
            f"{key}={value}"
            for key, value in (("hca_handle", each.handles), ("hca_object", each.objects))
            if value is not None
        ]
        if parts:
            found.append(Write(CONTROLLER, "rdma.max", " ".join([each.device, *parts])))
    return found
