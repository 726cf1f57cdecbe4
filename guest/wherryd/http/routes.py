"""Which handler a method and a path belong to.

A pattern is a path with `{name}` for one segment and `{name:REGEX}` for what the expression matches.
"""

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import unquote

from wherryd.http.messages import Request, StreamResponse

#: Of each handler: what it answers is what leaves.
Handler = Callable[[Request], Awaitable[StreamResponse]]

_PARAMETER = re.compile(r"\{(\w+)(?::([^{}]+))?\}")
_SEGMENT = "[^{}/]+"


@dataclass(frozen=True, slots=True)
class RouteDef:
    """method: "*" for each. allow_head: whether GET also answers HEAD."""

    method: str
    path: str
    handler: Handler
    allow_head: bool = False

    @property
    def name(self) -> str:
        """ "GET /images/{name}/json", as descriptions of an API write it."""
        return f"{self.method} {_described(self.path)}"

    def takes(self, method: str) -> bool:
        return self.method in (method, "*") or (self.allow_head and method == "HEAD")


@cache
def _described(path: str) -> str:
    return _PARAMETER.sub(r"{\1}", path)


def route(method: str, path: str, handler: Any) -> RouteDef:
    return RouteDef(method, path, handler)


def get(path: str, handler: Any, *, allow_head: bool = True) -> RouteDef:
    return RouteDef("GET", path, handler, allow_head)


def head(path: str, handler: Any) -> RouteDef:
    return RouteDef("HEAD", path, handler)


def post(path: str, handler: Any) -> RouteDef:
    return RouteDef("POST", path, handler)


def put(path: str, handler: Any) -> RouteDef:
    return RouteDef("PUT", path, handler)


def delete(path: str, handler: Any) -> RouteDef:
    return RouteDef("DELETE", path, handler)


class Router:
    """Paths without parameters come first; among the others the first that matches decides."""

    def __init__(self, routes: Iterable[RouteDef]) -> None:
        self._plain: dict[str, list[RouteDef]] = {}
        self._patterns: dict[str, list[tuple[re.Pattern[str], RouteDef]]] = {}
        for each in routes:
            if "{" in each.path:
                self._patterns.setdefault(_first(each.path), []).append((_compiled(each.path), each))
            else:
                self._plain.setdefault(each.path, []).append(each)

    def find(self, method: str, path: str) -> tuple[RouteDef, dict[str, str]] | None:
        """path: as it was sent. The route and the parameters, or None."""
        escaped = "%" in path
        if escaped:
            # A slash that was escaped is part of a segment: it stays so until the segments are known.
            path = unquote(path.replace("%25", "%2525").replace("%2F", "%252F").replace("%2f", "%252F"))
        for each in self._plain.get(path, ()):
            if each.takes(method):
                return each, {}
        for pattern, each in self._patterns.get(_first(path), ()):
            if each.takes(method) and (match := pattern.fullmatch(path)):
                found = match.groupdict()
                if escaped:
                    found = {
                        name: value.replace("%2F", "/").replace("%25", "%") for name, value in found.items()
                    }
                return each, found
        return None


def _first(path: str) -> str:
    return path.partition("/")[2].partition("/")[0]


def _compiled(path: str) -> re.Pattern[str]:
    """The first segment is never a parameter."""
    found, at = "", 0
    for each in _PARAMETER.finditer(path):
        found += f"{re.escape(path[at : each.start()])}(?P<{each[1]}>{each[2] or _SEGMENT})"
        at = each.end()
    return re.compile(found + re.escape(path[at:]), re.DOTALL)
