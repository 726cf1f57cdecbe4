"""Ranges of ids for --userns-remap=auto."""

from typing import Any

import pytest

from wherryd.containers import idranges, request
from wherryd.containers.record import ContainerRecord
from wherryd.errors import Unavailable
from wherryd.spec import idrange


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
    first = idranges.allocate([])
    second = idranges.allocate([record(first)])
    assert (first, second) == (idranges.FIRST, idranges.FIRST + idranges.SIZE)
    assert idranges.allocate([record(second), record(0)]) == first


def test_ranges_for_the_most_containers_stay_below_the_highest_id() -> None:
    records = [record(idranges.FIRST + number * idranges.SIZE) for number in range(4096)]
    assert idranges.allocate(records) + idranges.SIZE < 2**31


def test_when_all_ranges_are_taken_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idranges, "LAST", idranges.FIRST + 2 * idranges.SIZE)
    records = [record(idranges.FIRST), record(idranges.FIRST + idranges.SIZE)]
    with pytest.raises(Unavailable, match=r"all 2 ranges of ids are taken .* --userns=host"):
        idranges.allocate(records)


@pytest.mark.parametrize(
    "fields",
    [
        {"UsernsMode": "host"},
        {"Privileged": True},
        {"PidMode": "host"},
        {"NetworkMode": "host"},
        {"IpcMode": "host"},
    ],
)
def test_modes_that_need_the_hosts_ids_have_them(fields: dict[str, Any]) -> None:
    assert idranges.refusal(host(**fields))
    assert idrange.mappings(0) == ()


@pytest.mark.parametrize("name", ["ALL", "sys_time", "CAP_IPC_LOCK"])
def test_capabilities_that_only_the_hosts_root_has_are_known(name: str) -> None:
    assert idranges.outside_only(host(CapAdd=["net_admin", name]))


def test_capabilities_with_force_in_a_user_namespace_leave_it_on() -> None:
    fields = host(CapAdd=["NET_ADMIN", "SYS_ADMIN", "SYS_PTRACE", "NET_RAW"], NetworkMode="container:x")
    assert idranges.refusal(fields) is None
    assert idranges.outside_only(fields) is None
