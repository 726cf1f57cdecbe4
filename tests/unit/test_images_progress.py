"""Errors of a progress stream: an HTTP error before the first line, a line after it."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from api_server import serving

from wherryd.api import progress
from wherryd.api.app import build_app
from wherryd.errors import InvalidParameter
from wherryd.http import web
from wherryd.images.progress import bar

Line = dict[str, Any]


async def fetch(lines: AsyncIterator[Line]) -> tuple[int, str, bytes]:
    async def handler(request: web.Request) -> web.StreamResponse:
        return await progress.respond(request, lines)

    app = build_app([[web.post("/go", handler)]])
    async with serving(app) as client, client.post("/v1.44/go") as answer:
        return answer.status, answer.headers["Content-Type"], await answer.read()


async def test_error_before_the_first_line_is_a_real_http_error() -> None:
    async def lines() -> AsyncIterator[Line]:
        if fail:
            raise InvalidParameter("bad change")
        yield {}

    fail = True

    status, kind, body = await fetch(lines())
    assert (status, kind) == (400, "application/json")
    assert json.loads(body) == {"message": "bad change"}


async def test_error_after_a_line_is_a_line() -> None:
    async def lines() -> AsyncIterator[Line]:
        yield {"status": "working"}
        raise InvalidParameter("broken")

    status, _, body = await fetch(lines())
    assert status == 200
    first, second, rest = body.split(b"\r\n")
    assert json.loads(first) == {"status": "working"}
    assert json.loads(second) == {"errorDetail": {"message": "broken"}, "error": "broken"}
    assert rest == b""


async def test_producer_is_ended_when_the_client_goes_away() -> None:
    ended = asyncio.Event()

    async def lines() -> AsyncIterator[Line]:
        try:
            while True:
                yield {"status": "x" * 100_000}
        finally:
            ended.set()

    async def handler(request: web.Request) -> web.StreamResponse:
        return await progress.respond(request, lines())

    app = build_app([[web.post("/go", handler)]])
    async with serving(app) as client:
        answer = await client.post("/go")
        await answer.content.readany()
        answer.close()
        await asyncio.wait_for(ended.wait(), 10)


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0B"), (999, "999B"), (1536, "1.536kB"), (2_500_000, "2.5MB")]
)
def test_sizes_are_shown_in_decimal_units(size: int, text: str) -> None:
    assert bar("x", size)["progress"].strip() == text


def test_bar_never_runs_over_its_end() -> None:
    line = bar("Loading layer", 20, 10, "abc")
    assert line["id"] == "abc"
    assert line["progressDetail"] == {"current": 20, "total": 10}
    assert "[" + "=" * 50 + ">]" in line["progress"]
