"""The order of names that end in numbers: web2 before web10."""

import re

_NUMBER = re.compile(r"(\d+)")


def natural(name: str) -> list[tuple[int, int, str]]:
    """A sort key. Numbers come before letters, as in the order of characters."""
    parts = (part for part in _NUMBER.split(name) if part)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts]
