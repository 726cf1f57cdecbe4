"""UDP over a stream: frames."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherrywire.datagrams import MAX_PAYLOAD_BYTES, Datagram, Decoder, encode

_frames = st.lists(st.tuples(st.integers(0, 2**32 - 1), st.binary(max_size=300)), max_size=8)


@given(_frames, st.integers(1, 40))
def test_frames_come_out_as_they_went_in_however_they_are_cut(
    frames: list[tuple[int, bytes]], step: int
) -> None:
    stream = b"".join(encode(client, payload) for client, payload in frames)
    decoder = Decoder()
    found = [each for at in range(0, len(stream), step) for each in decoder.feed(stream[at : at + step])]
    assert found == [Datagram(client, payload) for client, payload in frames]


def test_what_no_datagram_carries_is_refused() -> None:
    assert encode(1, b"x" * MAX_PAYLOAD_BYTES)
    with pytest.raises(ValueError, match="65508 bytes"):
        encode(1, b"x" * (MAX_PAYLOAD_BYTES + 1))
