"""WebSocket frames (RFC 6455) wherever packets are cut, and what a peer may not send."""

import struct

import pytest

from wherryd.http.websocket import CloseCode, Decoder, FrameError, Message, Opcode, encode

LIMIT = 100_000
MASK = b"\x01\x02\x03\x04"


def masked(first: int, data: bytes) -> bytes:
    """A client's frame. first: its first byte."""
    if len(data) < 126:
        length = bytes([0x80 | len(data)])
    elif len(data) < 65536:
        length = struct.pack(">BH", 0x80 | 126, len(data))
    else:
        length = struct.pack(">BQ", 0x80 | 127, len(data))
    return bytes([first]) + length + MASK + bytes(byte ^ MASK[at % 4] for at, byte in enumerate(data))


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
def test_messages_of_every_length_are_read_wherever_they_are_cut(size: int) -> None:
    data = bytes(at % 251 for at in range(size))
    frame = masked(0x82, data)
    for cut in (*range(1, min(len(frame), 20)), len(frame)):
        decoder = Decoder(LIMIT)
        found = decoder.feed(frame[:cut]) + decoder.feed(frame[cut:])
        assert found == [Message(Opcode.BINARY, data)]


def test_a_message_in_pieces_is_one_with_a_ping_between() -> None:
    decoder = Decoder(LIMIT)
    found = decoder.feed(masked(0x01, b"a") + masked(0x89, b"?") + masked(0x00, b"b") + masked(0x80, b"c"))
    assert found == [Message(Opcode.PING, b"?"), Message(Opcode.TEXT, b"abc")]
    assert decoder.feed(masked(0x82, b"next")) == [Message(Opcode.BINARY, b"next")]


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (b"\x82\x01x", CloseCode.PROTOCOL_ERROR),  # not masked
        (masked(0xC2, b"x"), CloseCode.PROTOCOL_ERROR),  # a reserved bit
        (masked(0x83, b"x"), CloseCode.PROTOCOL_ERROR),  # no such opcode
        (masked(0x80, b"x"), CloseCode.PROTOCOL_ERROR),  # goes on from nothing
        (masked(0x02, b"x") + masked(0x82, b"y"), CloseCode.PROTOCOL_ERROR),  # one within another
        (masked(0x09, b"x"), CloseCode.PROTOCOL_ERROR),  # a ping in pieces
        (masked(0x89, b"x" * 126), CloseCode.PROTOCOL_ERROR),  # a long ping
        (masked(0x82, b"x" * (LIMIT + 1))[:20], CloseCode.TOO_BIG),  # before it is there
        (masked(0x02, b"x" * LIMIT) + masked(0x80, b"x"), CloseCode.TOO_BIG),  # by its pieces
    ],
)
def test_what_a_client_may_not_send_is_an_error(frames: bytes, code: CloseCode) -> None:
    with pytest.raises(FrameError) as caught:
        Decoder(LIMIT).feed(frames)
    assert caught.value.code is code


@pytest.mark.parametrize(
    ("size", "head"),
    [(125, b"\x82\x7d"), (126, b"\x82\x7e\x00\x7e"), (65536, b"\x82\x7f" + struct.pack(">Q", 65536))],
)
def test_a_servers_frames_are_whole_and_not_masked(size: int, head: bytes) -> None:
    assert encode(Opcode.BINARY, b"x" * size) == head + b"x" * size
