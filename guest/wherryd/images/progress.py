"""Lines of the Engine API's progress stream.

Clients draw from progressDetail; `progress` is the same as text, for old ones.
"""

from wherryd.images.image import Progress

_WIDTH = 50


def bar(status: str, current: int, total: int = 0, identifier: str = "") -> Progress:
    """current, total: bytes; total 0 when it is not known."""
    detail: dict[str, int] = {"current": current}
    text = f"{human(current):>8}"
    if total > 0:
        detail["total"] = total
        filled = min(_WIDTH, _WIDTH * current // total)
        text = f"[{'=' * filled}>{' ' * (_WIDTH - filled)}] {human(current):>8}/{human(total)}"
    line: Progress = {"status": status, "progressDetail": detail, "progress": text}
    if identifier:
        line["id"] = identifier
    return line


def human(size: int) -> str:
    """1536 -> 1.536kB, decimal units as Docker prints them."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            return f"{value:.4g}{unit}"
        value /= 1000
    raise AssertionError("unreachable")
