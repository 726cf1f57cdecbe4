"""Answers that are a stream of progress lines: create, load, and later build and push.

Source: Engine API, "POST /images/create". An error before the first line is a real HTTP error; after it
the status is out already, so the error is a line: `errorDetail`, and `error` for old clients.
"""

import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, cast

from wherryd.errors import EngineError
from wherryd.http import web
from wherrywire import jsonlines

log = logging.getLogger(__name__)

Line = dict[str, Any]


async def respond(
    request: web.Request, lines: AsyncIterator[Line], *, always_in_band: bool = False
) -> web.StreamResponse:
    """Streams lines as they come. Raises what the producer raises before its first line; with always_in_band
    such an error is a line of a good answer, too."""
    # All producers are async generators; aclosing ends their work when the client goes away.
    async with aclosing(cast("AsyncGenerator[Line, None]", lines)) as items:
        try:
            first = await anext(items, None)
        except EngineError as exc:
            if not always_in_band:
                raise
            first = error_line(exc)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        if first is not None:
            await response.write(encode(first))
            try:
                async for line in items:
                    await response.write(encode(line))
            except ConnectionError:
                raise
            except EngineError as exc:
                await response.write(encode(error_line(exc)))
            except Exception as exc:
                log.exception("%s %s", request.method, request.path)
                await response.write(encode(error_line(exc)))
        await response.write_eof()
    return response


def encode(line: Line) -> bytes:
    r"""One line as Docker ends it: ``\r\n``."""
    return jsonlines.encode(line)[:-1] + b"\r\n"


def error_line(error: Exception) -> Line:
    """Without a code: clients end with it, and it is a failing RUN's (builder/service.py)."""
    message = str(error)
    if not isinstance(error, EngineError):
        message = f"internal error: {type(error).__name__}: {error} (hint: see the engine's log)"
    return {"errorDetail": {"message": message}, "error": message}
