"""Progress of pull, import, load: JSON lines whose last one may be an error.

Source: Engine API, POST /images/create; engines send `errorDetail` and, for old clients, `error`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from wherry.errors import EngineProblem
from wherrywire.jsonlines import Decoder, LineError


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One line. current and total are bytes (0 when there is no bar to draw)."""

    id: str = ""
    status: str = ""
    stream: str = ""
    current: int = 0
    total: int = 0
    aux: Any = None

    @property
    def has_bar(self) -> bool:
        return self.current > 0 or self.total > 0


def read(chunks: Iterable[bytes]) -> Iterator[Progress]:
    """The lines of a body, as they come. Raises EngineProblem at an error line, with the engine's code."""
    decoder = Decoder()
    try:
        for chunk in chunks:
            for value in decoder.feed(chunk):
                yield _progress(value)
        for value in decoder.finish():
            yield _progress(value)
    except LineError as exc:
        raise EngineProblem(f"the engine's progress cannot be read: {exc}; see its log") from exc


def _progress(value: Any) -> Progress:
    detail = value.get("errorDetail")
    if detail or value.get("error"):
        message = (detail or {}).get("message") or value["error"]
        code = int((detail or {}).get("code") or 0)
        raise EngineProblem(str(message), exit_code=code if 0 < code < 256 else 1)
    sizes = value.get("progressDetail") or {}
    return Progress(
        id=str(value.get("id") or ""),
        status=str(value.get("status") or ""),
        stream=str(value.get("stream") or ""),
        current=int(sizes.get("current") or 0),
        total=int(sizes.get("total") or 0),
        aux=value.get("aux"),
    )
