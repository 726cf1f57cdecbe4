"""The patterns of ${NAME#pattern}: "*" any text, "?" one character, no brackets.

Matched piece by piece between the stars and not by one regular expression: Python's would go back and
forth for minutes on a hostile pattern. Source: POSIX.1-2018, shell command language, 2.6.2.
"""

import re
from dataclasses import dataclass

from wherryd.builder.dockerfile.errors import DockerfileError


class _Any:
    """A "?"."""


_ANY = _Any()
_Piece = list[str | _Any]


@dataclass(frozen=True, slots=True)
class Glob:
    """pieces: the texts between the stars; one more than there are stars."""

    pieces: tuple[re.Pattern[str], ...]
    mirrored: tuple[re.Pattern[str], ...]

    def cut_prefix(self, value: str, *, longest: bool) -> str:
        end = _end(self.pieces, value, 0, longest=longest)
        return value if end is None else value[end:]

    def cut_suffix(self, value: str, *, longest: bool) -> str:
        end = _end(self.mirrored, value[::-1], 0, longest=longest)
        return value if end is None else value[: len(value) - end]

    def replace(self, value: str, replacement: str, *, every: bool) -> str:
        out, at = "", 0
        while (first := self.pieces[0].search(value, at)) is not None:
            end = _end(self.pieces, value, first.start(), longest=True)
            if end is None:
                break
            out += value[at : first.start()] + replacement
            if end == first.start():  # an empty pattern stands before each character, as in Go
                out += value[end : end + 1]
                end += 1
            at = end
            if not every or at > len(value):
                break
        return out + value[at:]


def compile_glob(pattern: str) -> Glob:
    """Raises DockerfileError for a backslash before anything but "*", "?", a backslash, "}" and "/"."""
    pieces: list[_Piece] = [[]]
    characters = iter(pattern)
    for character in characters:
        if character == "*":
            pieces.append([])
        elif character == "?":
            pieces[-1].append(_ANY)
        elif character == "\\":
            following = next(characters, "")
            if not following or following not in "*?\\}/":
                raise DockerfileError(
                    f"invalid pattern ({pattern}) in substitution: invalid escape '\\{following}'",
                    "a backslash stands before *, ?, }, / or another backslash",
                )
            pieces[-1].append(following)
        else:
            pieces[-1].append(character)
    mirrored = [piece[::-1] for piece in reversed(pieces)]
    return Glob(tuple(map(_compile, pieces)), tuple(map(_compile, mirrored)))


def _compile(piece: _Piece) -> re.Pattern[str]:
    return re.compile(
        "".join("." if isinstance(part, _Any) else re.escape(part) for part in piece), re.DOTALL
    )


def _end(pieces: tuple[re.Pattern[str], ...], value: str, start: int, *, longest: bool) -> int | None:
    """Where the shortest or longest match that begins at start ends; None without one."""
    first = pieces[0].match(value, start)
    if first is None:
        return None
    at = first.end()
    for number, piece in enumerate(pieces[1:], 1):
        if longest and number == len(pieces) - 1:
            return _last(piece, value, at)
        # The earliest place of each piece leaves the most for those behind it.
        found = piece.search(value, at)
        if found is None:
            return None
        at = found.end()
    return at


def _last(piece: re.Pattern[str], value: str, start: int) -> int | None:
    """The end of the piece's last place; all matches of a piece are equally long."""
    for at in range(len(value), start - 1, -1):
        if match := piece.match(value, at):
            return match.end()
    return None
