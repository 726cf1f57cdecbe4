"""--chmod: an octal number, or changes in words. Source: chmod(1); Dockerfile reference, "COPY --chmod"."""

import re
import stat
from collections.abc import Callable
from dataclasses import dataclass

_MOST = 0o7777
_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=](?:[rwxXst]*|[ugo]))+)")
_ACTION = re.compile(r"([-+=])([rwxXst]*|[ugo])")
_SHIFTS = {"u": 6, "g": 3, "o": 0}
_BITS = {"r": 4, "w": 2, "x": 1}


@dataclass(frozen=True, slots=True)
class _Change:
    """who: of "ugo". sign: "+", "-" or "=". what: letters of "rwxXst", or one of "ugo" to copy from."""

    who: str
    sign: str
    what: str

    def applied(self, mode: int, *, folder: bool) -> int:
        bits, kept = 0, 0
        for who in self.who:
            shift = _SHIFTS[who]
            bits |= self._permissions(mode, folder=folder) << shift
            kept |= 7 << shift
        if "s" in self.what:
            bits |= (stat.S_ISUID if "u" in self.who else 0) | (stat.S_ISGID if "g" in self.who else 0)
        if "t" in self.what:
            bits |= stat.S_ISVTX
        if self.sign == "+":
            return mode | bits
        if self.sign == "-":
            return mode & ~bits
        if not folder:  # chmod(1): a folder's set-id bits stay unless they are named
            kept |= (stat.S_ISUID if "u" in self.who else 0) | (stat.S_ISGID if "g" in self.who else 0)
        return mode & ~kept | bits

    def _permissions(self, mode: int, *, folder: bool) -> int:
        if self.what in _SHIFTS:
            return mode >> _SHIFTS[self.what] & 7
        bits = 0
        for letter in self.what:
            bits |= _BITS.get(letter, 0)
        if "X" in self.what and (folder or mode & 0o111):
            bits |= 1
        return bits


#: (mode of the source, whether it is a folder) -> the mode of the copy.
Mode = Callable[[int, bool], int]


def parse(text: str) -> Mode:
    """Raises ValueError."""
    if text.isascii() and text.isdecimal():
        if set(text) & {"8", "9"} or int(text, 8) > _MOST:
            raise ValueError(text)
        number = int(text, 8)
        return lambda _mode, _folder: number
    changes: list[_Change] = []
    for clause in text.split(","):
        match = _CLAUSE.fullmatch(clause)
        if match is None:
            raise ValueError(text)
        who = "ugo" if "a" in match[1] or not match[1] else match[1]
        changes += [_Change(who, sign, what) for sign, what in _ACTION.findall(match[2])]

    def changed(mode: int, folder: bool) -> int:
        for change in changes:
            mode = change.applied(mode, folder=folder)
        return mode

    return changed
