"""The application: versioned paths, headers, and errors as `{"message": ...}`.

Every route is there twice, as `/x` and as `/v1.NN/x`. Unknown paths and wrong methods are both 404
`page not found`, as clients expect of this API.
"""

import logging
from collections.abc import Iterable

from wherryd.api import history, version
from wherryd.api.hijack import HijackedResponse
from wherryd.api.status import status_for
from wherryd.errors import EngineError, InvalidParameter
from wherryd.http import web

log = logging.getLogger(__name__)


class Application:
    """Answers requests: what http.server.Server wants."""

    def __init__(self, router: web.Router) -> None:
        self._router = router

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """Runs the handler; an error after the headers breaks the connection off: its client notices."""
        try:
            return await self._answer_or_error(request)
        except ConnectionError as exc:
            # The client has gone: there is nobody to answer.
            log.debug("%s %s: %s", request.method, request.path, exc)
        except Exception as exc:
            told = log.warning if isinstance(exc, EngineError) else log.exception
            told("%s %s: after the headers: %s", request.method, request.path, _one_line(exc))
            if request.transport is not None:
                request.transport.abort()
        return HijackedResponse()

    async def _answer_or_error(self, request: web.Request) -> web.StreamResponse:
        """Checks the version, runs the handler, and turns what it raises into an answer."""
        try:
            return await self._handler(request)(request)
        except EngineError as exc:
            if request.answering:
                raise
            status = status_for(exc)
            if status == 304:
                return web.Response(status=304)
            if status >= 500:
                log.warning("%s %s: %s", request.method, request.path, _one_line(exc))
            return error_response(status, str(exc))
        except ConnectionError:
            raise
        except Exception as exc:
            if request.answering:
                raise
            log.exception("%s %s", request.method, request.path)
            return error_response(
                500, f"internal error: {type(exc).__name__}: {exc} (hint: see the engine's log)"
            )

    def _handler(self, request: web.Request) -> web.Handler:
        path, text = request.path, None
        if match := version.PREFIX.match(path):
            text, path = match[1], path[match.end() :]
        found = self._router.find(request.method, path)
        if found is None:
            return _not_found
        request["api_version"] = version.parse(text)
        route, request.match_info = found
        request.query = history.parameters(route.name, request.query, request["api_version"])
        return route.handler


def build_app(groups: Iterable[Iterable[web.RouteDef]]) -> Application:
    """The application that serves these route groups. Order matters where patterns overlap."""
    return Application(web.Router(route for group in groups for route in group))


async def _not_found(_request: web.Request) -> web.StreamResponse:
    return error_response(404, "page not found")


def error_response(status: int, message: str) -> web.Response:
    return web.json_response({"message": message}, status=status)


def _one_line(error: BaseException) -> str:
    """With what was noted about it on the way. A client or a container can cause it: no traceback."""
    return " / ".join(" ".join([str(error), *getattr(error, "__notes__", ())]).splitlines())


def require(request: web.Request, key: str) -> str:
    """A path parameter, never empty."""
    value = request.match_info.get(key, "")
    if not value:
        raise InvalidParameter(f"{key} must not be empty")
    return value
