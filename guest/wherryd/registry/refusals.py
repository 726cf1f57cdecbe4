"""What a registry said no with. Source: OCI distribution-spec, "Error Codes"."""

import json
from collections.abc import Callable

from wherryd.errors import EngineError, Forbidden, InvalidParameter, NotFound, Unauthorized, Unavailable

_MAX_TEXT = 300
#: The same for answers without a body, as every answer to a HEAD is.
_UNSAID = {
    401: ("unauthorized", "authentication required"),
    403: ("denied", "requested access to the resource is denied"),
}


class Refusal(Exception):  # noqa: N818 - named for what happened
    """An answer with a status from 400 on. code: the registry's own, in lower case with blanks, or ""."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}" if code else message)
        self.status = status
        self.code = code

    @property
    def is_missing(self) -> bool:
        return self.status == 404

    @property
    def is_denied(self) -> bool:
        """Also what registries say to strangers about a repository that is not there."""
        return self.status in (401, 403) or self.code in ("name unknown", "denied", "unauthorized")

    def as_engine_error(self, what: str) -> EngineError:
        """what: the request, for the message ('Get "https://..."')."""
        kinds: dict[int, Callable[[str], EngineError]] = {
            400: InvalidParameter,
            401: Unauthorized,
            403: Forbidden,
            404: NotFound,
        }
        return kinds.get(self.status, Unavailable)(f"{what}: {self}")


def parse(status: int, body: bytes) -> Refusal:
    """From a body that may be anything."""
    try:
        document = json.loads(body)
        first = (document.get("errors") or [{}])[0]
        code, message = first.get("code"), first.get("message")
    except (ValueError, AttributeError, IndexError, KeyError, TypeError, RecursionError):
        code = message = None
        document = None
    if isinstance(code, str) and code:
        words = code.lower().replace("_", " ")[:_MAX_TEXT]
        return Refusal(status, words, message[:_MAX_TEXT] if isinstance(message, str) and message else words)
    if isinstance(document, dict) and isinstance(document.get("details"), str):
        return Refusal(status, "", document["details"][:_MAX_TEXT])  # what token servers say
    if not body and status in _UNSAID:
        return Refusal(status, *_UNSAID[status])
    text = " ".join(body.decode(errors="replace").split())[:_MAX_TEXT]
    shown = f": {text}" if text and "<" not in text else ""
    return Refusal(status, "", f"the registry answered with status {status}{shown}")
