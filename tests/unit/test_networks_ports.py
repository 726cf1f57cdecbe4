"""Host ports: validation, picking, holding. On loopback, with sockets of this process."""

import socket
from collections.abc import Iterator

import pytest

from wherryd.errors import Conflict, InvalidParameter
from wherryd.networks.ports import PortTable, has_ipv6, parse_port_list, validate, with_default
from wherryd.networks.sandbox import PortBinding

LOOPBACK = "127.0.0.1"


def binding(host_port: int, *, last: int = 0, ip: str = LOOPBACK, protocol: str = "tcp") -> PortBinding:
    return PortBinding(ip, host_port, 80, protocol, last)


@pytest.fixture
def taken() -> Iterator[socket.socket]:
    """A port that another program listens on."""
    with socket.socket() as server:
        server.bind((LOOPBACK, 0))
        server.listen(1)
        yield server


@pytest.fixture
def free() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def test_an_empty_host_address_means_every_one_of_both_families_at_one_port(free: int) -> None:
    table = PortTable()
    held = table.reserve(with_default(validate({"80/tcp": [PortBinding("", free, 80, "tcp")]}), ""))
    found = [(each.binding.host_ip, each.binding.host_port) for each in held]
    assert found == [("0.0.0.0", free), *([("::", free)] if has_ipv6() else [])]  # noqa: S104
    table.release(held)
    held = table.reserve([PortBinding("", 0, 80, "tcp")])
    assert len({each.binding.host_port for each in held}) == 1
    table.release(held)


@pytest.mark.skipif(not has_ipv6(), reason="this host has no IPv6")
def test_the_families_are_different_ports_and_one_that_is_taken_frees_the_other(free: int) -> None:
    table = PortTable()
    six = table.reserve([binding(free, ip="::1")])
    four = table.reserve([binding(free)])
    table.release(four)
    with pytest.raises(Conflict, match=f"Bind for :::{free} failed: port is already allocated"):
        table.reserve([binding(free, ip="")])
    table.release(table.reserve([binding(free, ip="0.0.0.0")]))  # noqa: S104
    table.release(six)


def test_a_networks_own_default_address_is_for_ports_that_name_none() -> None:
    named = PortBinding("192.0.2.7", 8081, 80, "tcp")
    bindings = validate({"80/tcp": [PortBinding("", 8080, 80, "tcp"), named]})
    assert [each.host_ip for each in with_default(bindings, LOOPBACK)] == [LOOPBACK, "192.0.2.7"]


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (PortBinding("", 70000, 80, "tcp"), InvalidParameter),
        (PortBinding("", 80, 0, "tcp"), InvalidParameter),
        (PortBinding("", 90, 80, "tcp", 80), InvalidParameter),
        (PortBinding("here", 80, 80, "tcp"), InvalidParameter),
        (PortBinding("fe80::1%lo", 80, 80, "tcp"), InvalidParameter),
        (PortBinding("", 80, 80, "icmp"), InvalidParameter),
    ],
)
def test_what_cannot_be_published_is_refused(wrong: PortBinding, error: type[Exception]) -> None:
    with pytest.raises(error):
        validate({"80/tcp": [wrong]})


def test_the_same_port_is_given_once_and_again_after_release(free: int) -> None:
    table = PortTable()
    held = table.reserve([binding(free)])
    with pytest.raises(Conflict, match=f"Bind for 127.0.0.1:{free} failed: port is already allocated"):
        table.reserve([binding(free)])
    table.release(held)
    table.release(table.reserve([binding(free)]))


def test_every_address_and_a_single_one_are_the_same_port(free: int) -> None:
    table = PortTable()
    held = table.reserve([binding(free)])
    with pytest.raises(Conflict, match="already allocated"):
        table.reserve([binding(free, ip="0.0.0.0")])  # noqa: S104
    table.release(held)


def test_tcp_and_udp_are_different_ports(free: int) -> None:
    table = PortTable()
    table.release(table.reserve([binding(free), binding(free, protocol="udp")]))


def test_a_refused_list_frees_those_before_it(taken: socket.socket, free: int) -> None:
    table = PortTable()
    with pytest.raises(Conflict, match="address already in use"):
        table.reserve([binding(free), binding(taken.getsockname()[1])])
    table.release(table.reserve([binding(free)]))


def test_an_address_of_nobody_says_so(free: int) -> None:
    with pytest.raises(Conflict, match="cannot assign requested address"):
        PortTable().reserve([binding(free, ip="192.0.2.1")])


def test_port_0_goes_through_the_range_in_turn_past_reserved_and_taken_ones(
    taken: socket.socket,
) -> None:
    first = taken.getsockname()[1]
    if first > 65000:
        pytest.skip("the kernel gave a port too near to the end")
    table = PortTable(lambda: (first, first + 40, frozenset({first + 1})))
    held = table.reserve([binding(0), binding(0)])
    numbers = [reservation.binding.host_port for reservation in held]
    assert first + 1 < numbers[0] < numbers[1] <= first + 40
    table.release(held)
    again = table.reserve([binding(0)])
    assert again[0].binding.host_port > numbers[1]
    table.release(again)


def test_a_range_of_taken_ports_says_that_all_are_allocated(taken: socket.socket) -> None:
    number = taken.getsockname()[1]
    with pytest.raises(Conflict, match="all ports are allocated"):
        PortTable().reserve([binding(number, last=number)])


def test_after_a_restart_a_port_that_somebody_took_is_still_ours(taken: socket.socket) -> None:
    table = PortTable()
    number = taken.getsockname()[1]
    reservation = table.hold_again(binding(number))
    assert reservation.holder is None
    with pytest.raises(Conflict, match="already allocated"):
        table.reserve([binding(number)])
    table.release([reservation])
    with pytest.raises(Conflict, match="already in use"):
        table.reserve([binding(number)])


def test_the_kernels_port_lists_are_read() -> None:
    assert parse_port_list("8080,9000-9002\n") == {8080, 9000, 9001, 9002}
    assert parse_port_list("\n") == frozenset()
