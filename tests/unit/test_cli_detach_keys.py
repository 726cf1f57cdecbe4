"""The detach sequence, however the keys arrive."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.cli.detach_keys import DEFAULT, DetachKeys, parse
from wherry.errors import UsageProblem


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("", DEFAULT),
        ("ctrl-p,ctrl-q", b"\x10\x11"),
        ("a,b", b"ab"),
        ("ctrl-@,ctrl-[,ctrl-_", b"\x00\x1b\x1f"),
    ],
)
def test_sequences_are_read(text: str, keys: bytes) -> None:
    assert parse(text) == keys


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-1", "ab", "a,", "ctrl-pp"])
def test_unknown_keys_are_told(text: str) -> None:
    with pytest.raises(UsageProblem, match="invalid detach keys"):
        parse(text)


def test_nothing_of_the_sequence_is_sent_on() -> None:
    keys = DetachKeys(DEFAULT)
    assert keys.feed(b"ab\x10\x11cd") == (b"ab", True)


def test_a_beginning_that_turns_out_otherwise_is_sent_after_all() -> None:
    keys = DetachKeys(DEFAULT)
    assert keys.feed(b"\x10") == (b"", False)
    assert keys.feed(b"x") == (b"\x10x", False)
    assert keys.feed(b"\x10\x10") == (b"\x10", False)
    assert keys.feed(b"\x11") == (b"", True)


@given(st.lists(st.binary(max_size=4)), st.binary(min_size=1, max_size=3))
def test_the_way_it_is_cut_changes_nothing(parts: list[bytes], sequence: bytes) -> None:
    whole, cut = DetachKeys(sequence), DetachKeys(sequence)
    expected, detached = whole.feed(b"".join(parts))
    got, done = b"", False
    for part in parts:
        if not done:
            out, done = cut.feed(part)
            got += out
    assert (got, done) == (expected, detached)
