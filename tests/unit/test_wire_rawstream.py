import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherrywire.rawstream import MAX_FRAME_BYTES, Decoder, Frame, FramingError, StreamId, encode

FRAMES = st.lists(st.builds(Frame, st.sampled_from(StreamId), st.binary(max_size=70)), max_size=8)


def test_a_frame_has_docker_s_eight_byte_header() -> None:
    assert encode(StreamId.STDERR, b"oops") == b"\x02\x00\x00\x00\x00\x00\x00\x04oops"


@given(frames=FRAMES, cut=st.integers(min_value=1, max_value=9))
def test_frames_survive_being_cut_anywhere(frames: list[Frame], cut: int) -> None:
    wire = b"".join(encode(frame.stream, frame.payload) for frame in frames)
    decoder = Decoder()
    got = [frame for at in range(0, len(wire), cut) for frame in decoder.feed(wire[at : at + cut])]
    assert got == frames
    assert decoder.at_boundary


def test_a_cut_off_frame_is_seen_at_the_end() -> None:
    decoder = Decoder()
    assert decoder.feed(encode(StreamId.STDOUT, b"hello")[:-1]) == []
    assert not decoder.at_boundary


def test_an_unknown_stream_is_refused() -> None:
    with pytest.raises(FramingError, match="unknown stream id 4"):
        Decoder().feed(b"\x04\x00\x00\x00\x00\x00\x00\x00")


def test_a_corrupt_length_costs_no_memory() -> None:
    with pytest.raises(FramingError, match="longer than"):
        Decoder().feed(b"\x01\x00\x00\x00\xff\xff\xff\xff")


def test_a_payload_beyond_the_limit_is_not_encoded() -> None:
    with pytest.raises(FramingError):
        encode(StreamId.STDOUT, bytes(MAX_FRAME_BYTES + 1))
