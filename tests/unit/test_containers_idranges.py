"""Ranges of ids for --userns-remap=auto."""

from typing import Any

import pytest

from wherryd.containers import idranges, request
from wherryd.containers.record import ContainerRecord


def host(**fields: Any) -> dict[str, Any]:
    return request.parse({"HostConfig": fields}).host_config


def record(id_base: int) -> ContainerRecord:
    return ContainerRecord(
        id="c" * 64,
        name="n",
        created="",
        image="i",
        image_id="i",
        path="sh",
        args=(),
        config={},
        host_config={},
        id_base=id_base,
    )


def test_each_container_has_a_range_of_its_own_and_free_ones_are_used_again() -> None:
    first = idranges.allocate(host(), [])
    second = idranges.allocate(host(), [record(first)])
    assert (first, second) == (idranges.FIRST, idranges.FIRST + idranges.SIZE)
    assert idranges.allocate(host(), [record(second), record(0)]) == first


def test_ranges_for_the_most_containers_stay_below_the_highest_id() -> None:
    records = [record(idranges.FIRST + number * idranges.SIZE) for number in range(4096)]
    assert idranges.allocate(host(), records) + idranges.SIZE < 2**31


@pytest.mark.parametrize(
    "fields",
    [
        {"UsernsMode": "host"},
        {"Privileged": True},
        {"PidMode": "host"},
        {"PidMode": "container:x"},
        {"NetworkMode": "host"},
        {"NetworkMode": "container:x"},
        {"IpcMode": "host"},
        {"IpcMode": "container:x"},
        {"CapAdd": ["net_admin"]},
        {"CapAdd": ["ALL"]},
    ],
)
def test_modes_that_need_the_hosts_ids_have_them(fields: dict[str, Any]) -> None:
    assert idranges.refusal(host(**fields))
    assert idranges.allocate(host(**fields), []) == 0
    assert idranges.mappings(0) == ()
