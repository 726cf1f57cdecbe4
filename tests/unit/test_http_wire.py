"""Requests as they come over the wire, wherever packets are cut, and what is refused as no request."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from api_server import listening

from wherryd.api.app import Application
from wherryd.api.hijack import RAW, HijackedResponse, take_over
from wherryd.errors import InvalidParameter
from wherryd.http import framing, head, web
from wherryd.http.server import MAX_BODY_BYTES

BODY = b'{"Tty":false}'
CHUNKS = b"2;x=y\r\n{}\r\n1\r\n \r\n0\r\nTrailer: 1\r\n\r\n"


async def echo(request: web.Request) -> web.Response:
    return web.json_response({"path": request.path, "body": (await request.read()).decode("latin-1")})


async def deaf(_request: web.Request) -> web.Response:
    return web.Response(status=201)


async def shell(request: web.Request) -> web.StreamResponse:
    """Says what was sent, up to its end."""
    connection = await take_over(request, RAW)
    connection.writer.write(b"[" + await connection.reader.read() + b"]")
    await connection.writer.drain()
    connection.close()
    return HijackedResponse()


async def stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for piece in (b"one", b"", b"two"):
        await response.write(piece)
    await response.write_eof(b"three")
    return response


APP = Application(
    web.Router(
        [
            web.post("/echo", echo),
            web.get("/echo", echo),
            web.post("/deaf", deaf),
            web.post("/shell", shell),
            web.get("/stream", stream, allow_head=False),
        ]
    )
)


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    async with listening(APP) as (host, port), asyncio.timeout(30):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            yield reader, writer
        finally:
            writer.close()


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Status, fields in lower case, body by its length."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)}
    body = await reader.readexactly(int(fields.get("content-length", "0")))
    return int(lines[0].split()[1]), fields, body


async def talk(data: bytes) -> bytes:
    """All that comes back for bytes that end in a request with Connection: close."""
    async with connected() as (reader, writer):
        writer.write(data)
        return await reader.read()


def request(line: str, *fields: str, body: bytes = b"") -> bytes:
    return "\r\n".join([f"{line} HTTP/1.1", "Host: x", *fields, "", ""]).encode() + body


async def test_a_request_may_be_cut_anywhere() -> None:
    plain = request("POST /echo", f"Content-Length: {len(BODY)}", body=BODY)
    chunked = request("POST /echo", "Transfer-Encoding: chunked", body=CHUNKS)
    async with connected() as (reader, writer):
        for data, expected in ((plain, BODY), (chunked, b"{} ")):
            for cut in range(1, len(data)):
                writer.write(data[:cut])
                await asyncio.sleep(0)
                writer.write(data[cut:])
                status, _, body = await answer(reader)
                assert (status, json.loads(body)["body"].encode()) == (200, expected)


async def test_requests_sent_at_once_are_answered_in_order() -> None:
    async with connected() as (reader, writer):
        writer.write(request("GET /echo?1") + request("GET /nowhere") + request("GET /echo"))
        assert [(await answer(reader))[0] for _ in range(3)] == [200, 404, 200]


async def test_what_follows_an_upgrade_is_the_stream() -> None:
    upgrade = request(
        "POST /shell", "Connection: Upgrade", "Upgrade: tcp", f"Content-Length: {len(BODY)}", body=BODY
    )
    early = b"GET / HTTP/1.1\r\n\r\n is input"
    for cut in range(1, len(upgrade + early), 7):
        async with connected() as (reader, writer):
            writer.write((upgrade + early)[:cut])
            await asyncio.sleep(0)
            writer.write((upgrade + early)[cut:])
            writer.write_eof()
            assert (await answer(reader))[0] == 101
            assert await reader.read() == b"[" + early + b"]"


async def test_a_flood_before_the_answer_waits_and_is_not_lost() -> None:
    flood = b"x" * 3_000_000
    async with connected() as (reader, writer):
        writer.write(request("POST /shell", "Connection: Upgrade", "Upgrade: tcp") + flood)
        writer.write_eof()
        assert (await answer(reader))[0] == 101
        assert await reader.read() == b"[" + flood + b"]"


async def test_a_body_that_nobody_wanted_does_not_become_a_request() -> None:
    async with connected() as (reader, writer):
        body = b"GET /echo HTTP/1.1\r\n\r\n" * 100_000
        writer.write(request("POST /deaf", f"Content-Length: {len(body)}", body=body))
        assert (await answer(reader))[0] == 201
        writer.write(request("GET /stream"))
        assert (await answer(reader))[1]["transfer-encoding"] == "chunked"


async def test_a_client_that_asks_first_is_told_to_go_on_once_the_body_is_wanted() -> None:
    async with connected() as (reader, writer):
        writer.write(request("POST /echo", "Expect: 100-continue", "Content-Length: 2"))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"{}")
        assert (await answer(reader))[0] == 200
        writer.write(request("POST /deaf", "Expect: 100-continue", "Content-Length: 2"))
        status, _, _ = await answer(reader)
        assert (status, await reader.read()) == (201, b"")


async def test_a_body_over_the_limit_is_a_bad_request() -> None:
    async with connected() as (reader, writer):
        body = b"x" * (MAX_BODY_BYTES + 1)
        writer.write(request("POST /echo", f"Content-Length: {len(body)}", body=body))
        assert (await answer(reader))[0] == 400


async def test_streams_come_in_chunks_and_to_old_clients_up_to_the_end() -> None:
    modern = await talk(request("GET /stream", "Connection: close"))
    assert modern.endswith(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n")
    old = await talk(b"GET /stream HTTP/1.0\r\n\r\n")
    assert old.endswith(b"\r\n\r\nonetwothree")
    assert b"transfer-encoding" not in old.lower()


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET  / HTTP/1.1\r\n\r\n",
        b"GET /\x01 HTTP/1.1\r\n\r\n",
        b"\x00\xff\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\x00c\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"POST / HTTP/1.1\r\nContent-Length: +2\r\n\r\n{}",
        b"POST / HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n{}",
        b"GET /" + b"x" * head.MAX_HEAD_BYTES,
    ],
)
async def test_what_is_no_request_is_refused_and_ends_the_connection(data: bytes) -> None:
    found = await talk(data)
    assert found.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"Connection: close" in found


@pytest.mark.parametrize("data", [b"x\r\n", b"-1\r\n", b"2\r\nabc\r\n", b"1" * 20_000])
def test_what_are_no_chunks_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidParameter):
        framing.Chunked().feed(data)


async def test_escapes_in_paths_are_read_once() -> None:
    seen: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request.match_info["name"])
        return web.Response()

    router = web.Router([web.get("/things/{name}", handler), web.get("/all/{name:.+}/json", handler)])
    for path, expected in (
        ("/things/a%20b", "a b"),
        ("/things/a%2Fb", "a/b"),
        ("/things/a%252Fb", "a%2Fb"),
        ("/things/100%25", "100%"),
        ("/all/a/b%3A1/json", "a/b:1"),
    ):
        found = router.find("GET", path)
        assert found is not None
        assert found[1] == {"name": expected}
    for path in ("/things/a/b", "/things/", "/all/json", "/things"):
        assert router.find("GET", path) is None
    assert router.find("PUT", "/things/a") is None
    assert router.find("HEAD", "/things/a") is not None
