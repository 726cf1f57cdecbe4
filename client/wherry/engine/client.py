"""EngineClient: calls to one engine, with its errors as EngineProblem and one version for all calls."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol, Self

from wherry.engine.endpoint import Endpoint
from wherry.engine.http import Answer, Pool, message_of
from wherry.errors import EngineProblem

if TYPE_CHECKING:
    from wherry.engine.hijack import HijackedStream

#: The newest API version this client was written for; talks the engine's if that is older.
API_VERSION = (1, 51)
#: Read size for bodies that are streamed, in bytes.
CHUNK_BYTES = 64 * 1024
#: RFC 3986, section 2.3.
_UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"

Params = Mapping[str, str | int | bool | list[str] | None]


class Readable(Protocol):
    """What can be uploaded: a file, a pipe, or either behind a progress bar."""

    def read(self, size: int = -1, /) -> bytes: ...


class EngineClient:
    """One engine. Thread-safe for calls that run at the same time; closes its connections with `with`."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        api_version: tuple[int, int] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """api_version: skips the negotiation (a ping) when it is known. headers: of every request."""
        self.endpoint = endpoint
        self._headers = dict(headers or {})
        self._pool = Pool(endpoint, self._headers)
        self._version = api_version

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._pool.close()

    @property
    def api_version(self) -> tuple[int, int]:
        """min(ours, the engine's), asked once. Raises EngineProblem if nobody answers."""
        if self._version is None:
            self._version = min(API_VERSION, self._ask_version())
        return self._version

    def _ask_version(self) -> tuple[int, int]:
        answer = self._send("GET", "/_ping")
        return parse_version(answer.header("Api-Version"))

    # --- calls -----------------------------------------------------------------------------------

    def get(self, path: str, params: Params | None = None) -> Any:
        """The JSON of a GET."""
        return self._json(self.call("GET", path, params))

    def post(self, path: str, params: Params | None = None, body: Any = None) -> Any:
        """The JSON of a POST; None if the answer is empty (204, 304)."""
        return self._json(self.call("POST", path, params, body=body))

    def delete(self, path: str, params: Params | None = None) -> Any:
        return self._json(self.call("DELETE", path, params))

    def call(
        self,
        method: str,
        path: str,
        params: Params | None = None,
        *,
        body: Any = None,
        upload: Readable | None = None,
        headers: Mapping[str, str] | None = None,
        stream: bool = False,
        versioned: bool = True,
    ) -> Answer:
        """One call. path: unversioned, its parts quoted with `segment`. versioned: unless the
        version does not matter, and need not be asked for.

        body is sent as JSON; upload is sent chunked, as it is read. With stream=True the answer's body
        is left to the caller, who closes it. Raises EngineProblem for every status from 400 on.
        """
        sent = dict(headers or {})
        data: bytes | Iterable[bytes] | None = None
        if body is not None:
            data, sent["Content-Type"] = json.dumps(body).encode(), "application/json"
        elif upload is not None:
            data = _chunks(upload)
            sent.setdefault("Content-Type", "application/x-tar")
        target = self.path(path, params) if versioned else _with_query(path, params)
        return self._send(method, target, data=data, headers=sent, stream=stream)

    def chunks(self, path: str, params: Params | None = None) -> Iterator[bytes]:
        """The body of a GET, as it comes. The request is sent with the first `next`."""
        with self.call("GET", path, params, stream=True) as answer:
            yield from body_of(answer)

    def hijack(self, path: str, params: Params | None = None, body: Any = None) -> "HijackedStream":
        """POST and take the connection over (attach, exec start)."""
        from wherry.engine.hijack import open_stream

        return open_stream(self.endpoint, self.path(path, params), body, self._headers)

    def path(self, path: str, params: Params | None = None) -> str:
        """Versioned path with query. Lists repeat the key, None is left out, booleans are 1 and 0."""
        major, minor = self.api_version
        return f"/v{major}.{minor}{_with_query(path, params)}"

    # --- below -----------------------------------------------------------------------------------

    def _send(
        self,
        method: str,
        path: str,
        *,
        data: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        stream: bool = False,
    ) -> Answer:
        answer = self._pool.request(method, path, headers or {}, data)
        if answer.status >= 400:
            with answer:
                message = message_of(answer.content)
            raise EngineProblem(f"Error response from daemon: {message}", status=answer.status)
        if not stream:
            answer.content  # noqa: B018 - read here, so that the connection serves the next call
        return answer

    def _json(self, answer: Answer) -> Any:
        if not answer.content:
            return None
        try:
            return answer.json()
        except ValueError as exc:
            raise EngineProblem(
                f"the engine's answer is not JSON: {answer.content[:80]!r}; is {self.endpoint} an engine?",
                status=answer.status,
            ) from exc


def _with_query(path: str, params: Params | None) -> str:
    query = _query(params or {})
    return f"{path}?{query}" if query else path


def _query(params: Params) -> str:
    return "&".join(f"{_quoted(key)}={_quoted(value)}" for key, value in _pairs(params))


def segment(name: str) -> str:
    """A name as one part of a path. `/`, `:` and `@` stay, as image names have them."""
    return _quoted(name, b"/:@")


def _quoted(text: str, kept: bytes = b"") -> str:
    """Percent-encoded. urllib.parse does this too, and brings ipaddress along."""
    return "".join(
        chr(byte) if byte in _UNRESERVED or byte in kept else f"%{byte:02X}" for byte in text.encode()
    )


def parse_version(text: str) -> tuple[int, int]:
    """`1.41` -> (1, 41). An engine that names none is taken to know ours."""
    major, _, minor = text.partition(".")
    try:
        return int(major), int(minor)
    except ValueError:
        return API_VERSION


def filters(pairs: Iterable[tuple[str, str]]) -> str | None:
    """The filters parameter: {"name": {"db": true}}; None without filters."""
    wanted: dict[str, dict[str, bool]] = {}
    for key, value in pairs:
        wanted.setdefault(key, {})[value] = True
    return json.dumps(wanted) if wanted else None


def _pairs(params: Params) -> Iterator[tuple[str, str]]:
    for key, value in params.items():
        if value is None:
            continue
        if isinstance(value, list):
            yield from ((key, item) for item in value)
        elif isinstance(value, bool):
            yield key, "1" if value else "0"
        else:
            yield key, str(value)


def _chunks(upload: Readable) -> Iterator[bytes]:
    """Never an empty one, which would end a chunked body early."""
    while chunk := upload.read(CHUNK_BYTES):
        yield chunk


def body_of(answer: Answer) -> Iterator[bytes]:
    """Bytes of a streamed body as soon as they are there. Raises EngineProblem."""
    return answer.chunks()
