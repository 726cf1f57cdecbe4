"""Columns as Docker prints them: Go's tabwriter with a minimum width of 10 and 3 blanks between cells."""

from collections.abc import Sequence

MIN_WIDTH = 10
PADDING = 3


def align(text: str, *, min_width: int = MIN_WIDTH, padding: int = PADDING) -> str:
    """Lines with tab-separated cells -> aligned lines. A line's last cell is never padded.

    As in tabwriter, a column is a run of lines that have a cell there; a line without a tab ends it.
    """
    lines = [line.split("\t") for line in text.split("\n")]
    widths = [[0] * (len(cells) - 1) for cells in lines]
    deepest = max((len(row) for row in widths), default=0)
    for column in range(deepest):
        start = 0
        while start < len(lines):
            stop = start
            while stop < len(lines) and len(widths[stop]) > column:
                stop += 1
            widest = max((width(cells[column]) + padding for cells in lines[start:stop]), default=0)
            for line in range(start, stop):
                widths[line][column] = max(min_width, widest)
            start = stop + 1
    return "\n".join(_line(cells, row) for cells, row in zip(lines, widths, strict=True))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell + " " * (room - width(cell)) for cell, room in zip(cells, widths, strict=False))
    return "".join(padded) + cells[-1]


def width(text: str) -> int:
    """Characters, as tabwriter counts: wide ones count once, combining ones too."""
    return len(text)


def ellipsis(text: str, room: int) -> str:
    """At most room columns, the last one an ellipsis if something was cut. East Asian characters take two."""
    if sum(map(_columns, text)) <= room:
        return text
    kept, used = "", 0
    for char in text:
        used += _columns(char)
        if used > room - 1:
            break
        kept += char
    return kept + "…"


def _columns(char: str) -> int:
    if char.isascii():
        return 1
    import unicodedata  # seldom needed

    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
