"""`.dockerignore`: which files of a build context stay at home. Both sides must agree on it.

Source: docker build reference, ".dockerignore files"; moby/patternmatcher for the details: the last
pattern that matches wins, "!" takes back, a pattern for a folder holds for all below it.
"""

import posixpath
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache


class BadPattern(ValueError):  # noqa: N818 - named for what it is
    """A pattern that cannot be read; str() shows it."""


def read(data: bytes) -> list[str]:
    """The patterns of a file, cleaned. Lines that begin with "#" in column one are comments."""
    patterns = []
    for line in data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").split("\n"):
        pattern = line.strip()
        if line.startswith("#") or not pattern:
            continue
        inverted = pattern.startswith("!")
        pattern = pattern[1:].strip() if inverted else pattern
        if pattern:
            pattern = _clean(pattern)
            if len(pattern) > 1:
                pattern = pattern.removeprefix("/")
        patterns.append("!" + pattern if inverted else pattern)
    return patterns


def _clean(path: str) -> str:
    """As Go's filepath.Clean: unlike Python's normpath it knows no leading double slash."""
    return posixpath.normpath(re.sub(r"^/+", "/", path))


class Matcher:
    """`excludes(path)` for slash-separated paths below the context's root, without a leading slash."""

    def __init__(self, patterns: Iterable[str]) -> None:
        """Raises BadPattern."""
        self._patterns: list[tuple[re.Pattern[str], bool]] = []
        #: The "!" patterns, without that sign.
        self.exceptions: list[str] = []
        for pattern in patterns:
            text = pattern.strip()
            if not text:
                continue
            inverted = text.startswith("!")
            text = text[1:] if inverted else text
            if not text:
                raise BadPattern('illegal exclusion pattern: "!"')
            text = _clean(text)
            if inverted:
                self.exceptions.append(text)
            self._patterns.append((compile_pattern(text), inverted))

    def excludes(self, path: str) -> bool:
        """Whether path is left out, by itself or because a folder above it is."""
        if not self._patterns:
            return False
        candidates = [path, *parents(path)]
        left_out = False
        for pattern, inverted in self._patterns:
            if inverted == left_out and any(pattern.fullmatch(each) for each in candidates):
                left_out = not inverted
        return left_out

    def skips(self, path: str, *, folder: bool) -> bool:
        """Whether a walk passes path by: it is excluded, and no exception can be below it."""
        return self.excludes(path) and not (folder and self.may_hold_exceptions(path))

    def may_hold_exceptions(self, folder: str) -> bool:
        """Whether an excluded folder must be looked into all the same, for "!" patterns below it."""
        return any(
            f"{exception}/".startswith(f"{folder}/") or any(sign in exception for sign in "*?[")
            for exception in self.exceptions
        )


def parents(path: str) -> list[str]:
    """ "a/b/c" -> ["a", "a/b"]."""
    parts = path.split("/")[:-1]
    return ["/".join(parts[: i + 1]) for i in range(len(parts))]


@lru_cache(maxsize=1024)
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """ "*" and "?" stop at slashes, "**" does not, "[a-z]" and "[^a]" are sets. Raises BadPattern."""
    out, at = [], 0
    while at < len(pattern):
        character = pattern[at]
        at += 1
        if pattern.startswith("**", at - 1):
            while pattern.startswith("*", at):
                at += 1
            slash = pattern.startswith("/", at)
            at += slash
            out.append("(?:.*/)?" if slash else ".*")
        elif character == "*":
            out.append("[^/]*")
        elif character == "?":
            out.append("[^/]")
        elif character == "[":
            text, at = _set(pattern, at)
            out.append(text)
        elif character == "\\":
            if at == len(pattern):
                raise BadPattern(f'syntax error in pattern "{pattern}": nothing follows the backslash')
            out.append(re.escape(pattern[at]))
            at += 1
        else:
            out.append(re.escape(character))
    return re.compile("".join(out), re.DOTALL)


def _set(pattern: str, at: int) -> tuple[str, int]:
    """(regular expression of the set that begins before `at`, index behind it)."""
    negated = pattern[at : at + 1] == "^"
    at += negated
    ranges: list[str] = []
    while pattern[at : at + 1] != "]" or not ranges:
        first, at = _set_character(pattern, at)
        last = first
        if pattern[at : at + 1] == "-":
            last, at = _set_character(pattern, at + 1)
        if first > last:
            raise BadPattern(f'syntax error in pattern "{pattern}": [{first}-{last}] is the wrong way round')
        ranges.append(f"{re.escape(first)}-{re.escape(last)}")
    return f"(?!/)[{'^' if negated else ''}{''.join(ranges)}]", at + 1


def _set_character(pattern: str, at: int) -> tuple[str, int]:
    character = pattern[at : at + 1]
    if character == "\\":
        at += 1
        character = pattern[at : at + 1]
    elif character in ("-", "]"):
        character = ""
    if not character:
        raise BadPattern(f'syntax error in pattern "{pattern}": a "[" is not closed')
    return character, at + 1


def always_sent(patterns: Sequence[str], *names: str) -> list[str]:
    """The patterns, with exceptions for files the builder needs (Dockerfile, .dockerignore)."""
    matcher = Matcher(patterns)
    return [*patterns, *(f"!{name}" for name in names if matcher.excludes(name))]
