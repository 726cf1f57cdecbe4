"""Bytes behind an upgrade request belong to the stream, wherever the packets are cut."""

import asyncio
from typing import Any
from unittest import mock

import pytest
from aiohttp.http_parser import HttpRequestParser

from wherryd.api.early import MAX_HELD_BYTES, EarlyBytes

BODY = b'{"Tty":false}'
UPGRADE = (
    b"POST /exec/1/start HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
)
PLAIN = b"POST /images/load HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nab\r\n\r\nabcd"


async def parser() -> EarlyBytes:
    return EarlyBytes(HttpRequestParser(mock.Mock(), asyncio.get_running_loop(), 2**16))


async def feed(wrapped: EarlyBytes, *packets: bytes) -> list[Any]:
    return [message for packet in packets for message in wrapped.feed_data(packet)[0]]


async def test_early_bytes_are_kept_at_every_cut() -> None:
    stream = b"GET / HTTP/1.1\r\n\r\n is input"
    data = UPGRADE + stream
    for cut in range(1, len(data)):
        wrapped = await parser()
        messages = await feed(wrapped, data[:cut], data[cut:])
        assert len(messages) == 1
        assert await messages[0][1].read() == BODY
        assert wrapped.take() == stream


async def test_one_byte_at_a_time() -> None:
    wrapped = await parser()
    messages = await feed(wrapped, *(bytes([byte]) for byte in UPGRADE + b"early"))
    assert await messages[0][1].read() == BODY
    assert wrapped.take() == b"early"


async def test_ordinary_requests_pass_pipelined_or_not() -> None:
    data = PLAIN + PLAIN
    for cut in range(1, len(data)):
        wrapped = await parser()
        messages = await feed(wrapped, data[:cut], data[cut:])
        assert [await payload.read() for _, payload in messages] == [b"ab\r\n\r\nabcd"] * 2
        assert wrapped.take() == b""


async def test_a_connection_that_was_not_taken_over_takes_requests_again() -> None:
    wrapped = await parser()
    await feed(wrapped, UPGRADE)
    assert wrapped.take() == b""
    assert len(await feed(wrapped, PLAIN)) == 1


async def test_a_flood_before_the_answer_is_cut_off() -> None:
    wrapped = await parser()
    await feed(wrapped, UPGRADE)
    with pytest.raises(ConnectionResetError):
        await feed(wrapped, b"x" * (MAX_HELD_BYTES + 1))
