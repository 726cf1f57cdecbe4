"""The aiohttp application: versioned paths, headers, and errors as `{"message": ...}`.

Every route is there twice, as `/x` and as `/v1.NN/x`. Unknown paths and wrong methods are both 404
`page not found`, as clients expect of this API.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web

from wherryd.api import early, params, version
from wherryd.api.hijack import HijackedResponse
from wherryd.api.status import status_for
from wherryd.errors import EngineError, InvalidParameter
from wherrywire import __version__

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def build_app(groups: Iterable[Iterable[web.RouteDef]]) -> web.Application:
    """The application that serves these route groups. Order matters where patterns overlap."""
    app = web.Application(middlewares=[_answer], client_max_size=params.MAX_BODY_BYTES)
    app.on_response_prepare.append(_set_headers)
    for group in groups:
        for route in group:
            for prefix in ("", f"/v{{api_version:{version.PATTERN}}}"):
                # With its options: GET may also answer HEAD.
                web.RouteDef(route.method, prefix + route.path, route.handler, route.kwargs).register(
                    app.router
                )
    return app


def error_response(status: int, message: str) -> web.Response:
    return web.json_response({"message": message}, status=status)


async def _set_headers(request: web.Request, response: web.StreamResponse) -> None:
    request["answering"] = True
    response.headers["Server"] = f"Wherry/{__version__} (linux)"
    response.headers["Api-Version"] = version.text(version.MAXIMUM)
    response.headers["Ostype"] = "linux"
    response.headers["Docker-Experimental"] = "false"
    if response.content_type == "application/json":
        # Docker's client reads an error's message only out of exactly this type, without a charset.
        response.headers["Content-Type"] = "application/json"


@web.middleware
async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Runs the handler; an error after the headers breaks the connection off, for its client to notice."""
    try:
        response = await _answer_or_error(request, handler)
        if not isinstance(response, HijackedResponse) and early.take(request.protocol):
            # It was not taken over after all: what was sent as its stream is no request.
            response.force_close()
        return response
    except ConnectionError as exc:
        # The client has gone: there is nobody to answer.
        log.debug("%s %s: %s", request.method, request.path, exc)
    except Exception as exc:
        told = log.warning if isinstance(exc, EngineError) else log.exception
        told("%s %s: after the headers: %s", request.method, request.path, _one_line(exc))
        if request.transport is not None:
            request.transport.abort()
    return HijackedResponse(499)


async def _answer_or_error(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Checks the version, runs the handler, and turns what it raises into an answer."""
    try:
        request["api_version"] = version.parse(request.match_info.get("api_version"))
        return await handler(request)
    except EngineError as exc:
        if "answering" in request:
            raise
        status = status_for(exc)
        if status == 304:
            return web.Response(status=304)
        if status >= 500:
            log.warning("%s %s: %s", request.method, request.path, _one_line(exc))
        return error_response(status, str(exc))
    except web.HTTPRequestEntityTooLarge:
        return error_response(400, f"http: request body too large (limit {params.MAX_BODY_BYTES} bytes)")
    except web.HTTPException as exc:
        if exc.status in (404, 405):
            return error_response(404, "page not found")
        return error_response(exc.status, exc.text or exc.reason)
    except ConnectionError:
        raise
    except Exception as exc:
        if "answering" in request:
            raise
        log.exception("%s %s", request.method, request.path)
        return error_response(
            500, f"internal error: {type(exc).__name__}: {exc} (hint: see the engine's log)"
        )


def _one_line(error: BaseException) -> str:
    """With what was noted about it on the way. A client or a container can cause it: no traceback."""
    return " / ".join(" ".join([str(error), *getattr(error, "__notes__", ())]).splitlines())


def require(request: web.Request, key: str) -> str:
    """A path parameter, never empty."""
    value = request.match_info.get(key, "")
    if not value:
        raise InvalidParameter(f"{key} must not be empty")
    return value
