"""What builds may keep for later ones: `--builder-keep-storage`, and `builder.gc` in the file, as dockerd."""

import re
from collections.abc import Mapping

from wherryd.errors import InvalidParameter

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?", re.IGNORECASE)
_HINT = '(hint: {"gc": {"enabled": true, "defaultKeepStorage": "20GB"}})'


def read(values: Mapping[str, object]) -> int | None:
    """Bytes, 0 for no limit, None for the default. Raises InvalidParameter."""
    text = str(values["builder-keep-storage"])
    gc = _collection(values["builder"])
    if not gc.get("enabled", True):
        return 0
    text = text or str(gc.get("defaultKeepStorage", ""))
    if not text:
        return None
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise InvalidParameter(
            f'--builder-keep-storage: "{text}" is not a size (hint: 20GB, or 0 for no limit)'
        )
    return int(float(match[1]) * 1024 ** " kmgt".index(match[2].lower() or " "))


def _collection(builder: object) -> Mapping[str, object]:
    assert isinstance(builder, dict), "checked where it is read"  # noqa: S101
    gc = builder.get("gc", {})
    if set(builder) - {"gc"} or not isinstance(gc, dict) or set(gc) - {"enabled", "defaultKeepStorage"}:
        raise InvalidParameter(f"builder: {builder} is not understood {_HINT}")
    if not isinstance(gc.get("enabled", True), bool):
        raise InvalidParameter(f"builder.gc.enabled: wants true or false {_HINT}")
    return gc
