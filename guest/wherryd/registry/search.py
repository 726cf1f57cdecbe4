"""Search, by the v1 protocol: the only one that registries have. Source: moby, daemon/pkg/registry/search.go.

term            asks Docker Hub's index
host/term       asks that registry
"""

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from wherryd.errors import EngineError, InvalidParameter, NotSupported, Unavailable
from wherryd.registry import refusals
from wherryd.registry.credentials import Credentials
from wherryd.registry.hosts import HUB, HUB_SEARCH, Endpoint, Hosts
from wherryd.registry.tokens import basic
from wherryd.registry.transport import Answer, Transport, shown

MAX_RESULTS = 100
FILTERS = frozenset({"is-automated", "is-official", "stars"})
Filters = Mapping[str, Sequence[str]]


async def search(
    transport: Transport, hosts: Hosts, term: str, *, limit: int, filters: Filters, credentials: Credentials
) -> list[dict[str, Any]]:
    """Engine API ImageSearchResponseItems. Raises InvalidParameter, NotSupported, Unavailable."""
    accept = _filter(filters)
    if not 0 <= limit <= MAX_RESULTS:
        raise InvalidParameter(f"limit {limit} is outside the range of [1, {MAX_RESULTS}]")
    if "://" in term or not term.strip():
        raise InvalidParameter(f'invalid term "{term}": write a word, or host/word without http://')
    domain, word = _split(term)
    found = await _ask(transport, hosts, domain, word, limit or 25, credentials.for_domain(domain))
    return [item for entry in found if accept(item := _item(entry))][: limit or None]


def _split(term: str) -> tuple[str, str]:
    head, slash, rest = term.partition("/")
    if slash and ("." in head or ":" in head or head == "localhost"):
        if head in (HUB, HUB_SEARCH):
            return HUB, rest.removeprefix("library/")
        return head, rest
    return HUB, term.removeprefix("library/")


async def _ask(
    transport: Transport, hosts: Hosts, domain: str, word: str, limit: int, credentials: Credentials
) -> list[Mapping[str, Any]]:
    endpoints = [Endpoint(f"https://{HUB_SEARCH}")]
    if domain != HUB:
        endpoints = await hosts.endpoints(domain, mirrors=False)
    headers = basic(credentials) if credentials.username else {}
    problem: EngineError | None = None
    for endpoint in endpoints:
        url = f"{endpoint.url}/v1/search?{urlencode([('q', word), ('n', limit)])}"
        try:
            ask = functools.partial(transport.fetch, endpoint, "GET", url, headers=headers)
            answer = await transport.retry(ask, first=True)
        except Unavailable as exc:
            problem = problem or exc
            continue
        return _results(answer, domain, url)
    raise problem or Unavailable(f"{domain}: no address to ask")


def _results(answer: Answer, domain: str, url: str) -> list[Mapping[str, Any]]:
    if answer.status in (401, 403):
        raise refusals.parse(answer.status, answer.body).as_engine_error(shown("GET", url))
    document: Any = None
    if answer.status == 200:
        try:
            document = json.loads(answer.body)
        except (ValueError, RecursionError):
            document = None
    results = document.get("results") if isinstance(document, dict) else None
    if results is None and isinstance(document, dict) and "results" in document:
        results = []
    if not isinstance(results, list):
        raise NotSupported(
            f"{domain} has no search (status {answer.status} for /v1/search); "
            f"pull by name, or list its names at {domain}/v2/_catalog"
        )
    return [entry for entry in results if isinstance(entry, dict)]


def _item(entry: Mapping[str, Any]) -> dict[str, Any]:
    stars = entry.get("star_count")
    return {
        "star_count": stars if isinstance(stars, int) else 0,
        "is_official": bool(entry.get("is_official")),
        "name": str(entry.get("name") or ""),
        "is_automated": bool(entry.get("is_automated")),
        "description": str(entry.get("description") or ""),
    }


def _filter(filters: Filters) -> Any:
    unknown = set(filters) - FILTERS
    if unknown:
        raise InvalidParameter(f"invalid filter '{sorted(unknown)[0]}'")
    stars = [_number(value) for value in filters.get("stars", ())]
    flags = {
        key.replace("-", "_"): _truth(key, filters[key])
        for key in ("is-official", "is-automated")
        if filters.get(key)
    }

    def accept(item: Mapping[str, Any]) -> bool:
        return item["star_count"] >= max(stars, default=0) and all(
            item[key] is value for key, value in flags.items()
        )

    return accept


def _number(text: str) -> int:
    if not text.isdecimal() or not text.isascii() or len(text) > 9:
        raise InvalidParameter(f"invalid filter 'stars={text}'")
    return int(text)


def _truth(key: str, values: Sequence[str]) -> bool:
    if len(values) != 1 or values[0] not in ("1", "true", "0", "false"):
        raise InvalidParameter(f"invalid filter '{key}={','.join(values)}'")
    return values[0] in ("1", "true")
