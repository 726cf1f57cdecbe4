import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherrywire.jsonlines import Decoder, LineError, encode

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(values=st.lists(VALUES, max_size=5), cut=st.integers(min_value=1, max_value=7))
def test_values_survive_being_cut_anywhere(values: list[object], cut: int) -> None:
    wire = b"".join(map(encode, values))
    decoder = Decoder()
    got = [value for at in range(0, len(wire), cut) for value in decoder.feed(wire[at : at + cut])]
    assert got == values
    assert decoder.finish() == []


def test_docker_s_line_ends_and_blank_lines_are_read() -> None:
    assert Decoder().feed(b'{"status":"a"}\r\n\r\n{"status":"b"}\r\n') == [{"status": "a"}, {"status": "b"}]


def test_a_last_line_without_newline_comes_with_finish() -> None:
    decoder = Decoder()
    assert decoder.feed(b"[1]") == []
    assert decoder.finish() == [[1]]


def test_a_cut_off_last_line_is_an_error_not_silence() -> None:
    decoder = Decoder()
    decoder.feed(b'{"status":')
    with pytest.raises(LineError, match="not a JSON line"):
        decoder.finish()


def test_an_endless_line_is_refused() -> None:
    with pytest.raises(LineError, match="more than 10 bytes"):
        Decoder(max_line_bytes=10).feed(b"x" * 11)
