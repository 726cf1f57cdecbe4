"""The head of a request: its first line and its header fields. Source: RFC 9112, sections 2, 3 and 5."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from wherryd.errors import InvalidParameter

#: Line and fields together; Go's servers take as much.
MAX_HEAD_BYTES: Final = 1024 * 1024

_LINE: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([^\x00-\x20\x7f]+) HTTP/1\.([01])")
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
#: What no field's value may have in it.
_BAD_VALUE: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_LENGTH: Final = re.compile(r"[0-9]{1,18}")


class Headers(Mapping[str, str]):
    """Header fields by name in any case; of one that is repeated, the values with ", " between."""

    __slots__ = ("_fields",)

    def __init__(self) -> None:
        self._fields: dict[str, str] = {}

    def add(self, name: str, value: str) -> None:
        name = name.lower()
        before = self._fields.get(name)
        self._fields[name] = value if before is None else f"{before}, {value}"

    def __getitem__(self, name: str) -> str:
        return self._fields[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def tokens(self, name: str) -> tuple[str, ...]:
        """A list such as Connection's, in lower case."""
        return tuple(each.strip().lower() for each in self.get(name, "").split(",") if each.strip())


@dataclass(frozen=True, slots=True)
class Head:
    """target: as it was sent. minor: of HTTP/1.x. length: of the body, None for one in chunks."""

    method: str
    target: str
    minor: int
    headers: Headers
    length: int | None

    @property
    def keeps_alive(self) -> bool:
        wanted = self.headers.tokens("connection")
        return "close" not in wanted if self.minor else "keep-alive" in wanted

    @property
    def expects_continue(self) -> bool:
        return bool(self.minor) and self.headers.get("expect", "").lower() == "100-continue"

    @property
    def becomes_stream(self) -> bool:
        """Whether the connection is to be no HTTP any more once this is answered."""
        return "upgrade" in self.headers


def parse(data: bytes) -> Head:
    """data: without the empty line at its end. Raises InvalidParameter."""
    first, *lines = data.decode("latin-1").split("\r\n")
    line = _LINE.fullmatch(first)
    if line is None:
        raise InvalidParameter(f"not a request of HTTP/1.1: {first[:80]!r}")
    headers = Headers()
    for each in lines:
        name, colon, value = each.partition(":")
        value = value.strip(" \t")
        if not colon or _NAME.fullmatch(name) is None or _BAD_VALUE.search(value):
            raise InvalidParameter(f"not a header field: {each[:80]!r}")
        headers.add(name, value)
    return Head(line[1], line[2], int(line[3]), headers, _body_length(headers))


def _body_length(headers: Headers) -> int | None:
    """Bodies whose end two readers could see at different places are refused: RFC 9112, section 6.3."""
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is not None:
        if coding.lower() != "chunked" or length is not None:
            raise InvalidParameter(f"Transfer-Encoding: wants chunked alone, not {coding[:80]!r}")
        return None
    if length is None:
        return 0
    if _LENGTH.fullmatch(length) is None:
        raise InvalidParameter(f"Content-Length: not a number: {length[:80]!r}")
    return int(length)
