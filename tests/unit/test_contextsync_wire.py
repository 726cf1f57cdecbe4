"""What has changed in a context's list, and the list made of it again."""

import random

import pytest

from wherrywire.contextsync import BadChange, changed, difference


def lines(names: str) -> list[bytes]:
    return [b"[%d]\n" % ord(name) for name in names]


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        ("abc", "abc", [b"=3\n"]),
        ("abc", "aXc", [b"=1\n", b"[88]\n", b"-1\n", b"=1\n"]),
        ("abc", "", []),
        ("", "ab", [b"[97]\n", b"[98]\n"]),
        ("abcd", "cd", [b"-2\n", b"=2\n"]),
        ("abcd", "ab", [b"=2\n"]),
        ("ab", "aXYb", [b"=1\n", b"[88]\n", b"[89]\n", b"=1\n"]),
    ],
)
def test_a_difference_is_short(before: str, after: str, changes: list[bytes]) -> None:
    assert difference(lines(before), lines(after)) == changes


def test_what_has_another_order_has_no_difference() -> None:
    assert difference(lines("ab"), lines("ba")) is None


def test_a_difference_makes_the_list_again() -> None:
    chance = random.Random(7)  # noqa: S311 - no secret
    for _ in range(300):
        names = [chr(65 + each) for each in range(20)]
        before, after = (
            lines("".join(name for name in names if chance.random() < share)) for share in (0.7, 0.6)
        )
        changes = difference(before, after)
        assert changes is not None
        assert list(changed(before, changes)) == after


@pytest.mark.parametrize("change", [b"=4\n", b"-4\n", b"=-1\n", b"=\n", b"-a\n", b"=1000000000000\n"])
def test_a_change_of_what_is_not_there_is_refused(change: bytes) -> None:
    with pytest.raises(BadChange):
        list(changed(lines("abc"), [change]))
