"""Which ports the agent forwards, and from where to where."""

import pytest

from wherry.agent.ports import LOOPBACKS, wanted

EVERY4, EVERY6 = "0.0.0.0", "::"  # noqa: S104 - compared, not bound


@pytest.mark.parametrize(
    ("listed", "guest_host", "addresses"),
    [
        ((EVERY4, EVERY6), "127.0.0.1", LOOPBACKS),
        ((EVERY4,), "127.0.0.1", LOOPBACKS),
        ((EVERY6,), "::1", LOOPBACKS),
        (("127.0.0.1",), "127.0.0.1", ("127.0.0.1",)),
        (("::1",), "::1", ("::1",)),
        (("10.0.2.15",), "10.0.2.15", LOOPBACKS),
    ],
)
def test_a_port_is_dialled_where_the_guest_has_it(
    listed: tuple[str, ...], guest_host: str, addresses: tuple[str, ...]
) -> None:
    ports = [{"IP": ip, "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"} for ip in listed]
    (forward,) = wanted([{"Id": "c1", "Ports": ports}], {}).values()
    assert (forward.key, forward.container_id) == ((8080, "tcp"), "c1")
    assert (forward.guest_host, forward.addresses) == (guest_host, addresses)


def test_the_first_of_two_containers_has_the_number() -> None:
    def container(name: str, ip: str) -> dict[str, object]:
        return {"Id": name, "Ports": [{"IP": ip, "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}]}

    (forward,) = wanted([container("one", "127.0.0.1"), container("two", "::1")], {}).values()
    assert (forward.container_id, forward.addresses) == ("one", ("127.0.0.1",))


def test_what_is_not_published_and_what_no_forward_can_carry_is_left_out() -> None:
    ports = [{"PrivatePort": 80, "Type": "tcp"}, {"PrivatePort": 9, "PublicPort": 9, "Type": "sctp"}]
    assert wanted([{"Id": "c1", "Ports": ports}], {}) == {}
