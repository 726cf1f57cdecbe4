"""Splitting and expanding words as Dockerfile instructions do: quotes, backslashes, $NAME and ${NAME:-x}."""

import re
from collections.abc import Mapping

from wherryd.errors import InvalidParameter

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def split(text: str) -> list[str]:
    """Words at blanks outside of quotes. Quotes and backslashes stay in the words."""
    words: list[str] = []
    word, quote, i = "", "", 0
    while i < len(text):
        character = text[i]
        if character == "\\" and quote != "'" and i + 1 < len(text):
            word += text[i : i + 2]
            i += 2
            continue
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character.isspace():
            if word:
                words.append(word)
            word = ""
            i += 1
            continue
        word += character
        i += 1
    return [*words, word] if word else words


def expand(word: str, environment: Mapping[str, str]) -> str:
    """Removes quotes and backslashes and puts variables in. Raises InvalidParameter."""
    out, quote, i = "", "", 0
    while i < len(word):
        character = word[i]
        if character == quote:
            quote = ""
        elif not quote and character in "'\"":
            quote = character
        elif character == "\\" and quote != "'":
            following = word[i + 1 : i + 2]
            # Inside double quotes a backslash is special before these only, as in a shell.
            out += following if not quote or following in ('"', "$", "\\") else character + following
            i += 1
        elif character == "$" and quote != "'":
            value, i = _variable(word, i + 1, environment)
            out += value
            continue
        else:
            out += character
        i += 1
    if quote:
        raise InvalidParameter(f"unexpected end of statement while looking for matching {quote} in: {word}")
    return out


def _variable(word: str, at: int, environment: Mapping[str, str]) -> tuple[str, int]:
    """(value, index behind it) of what follows a "$"."""
    if word[at : at + 1] != "{":
        match = _NAME.match(word, at)
        return (environment.get(match[0], ""), match.end()) if match else ("$", at)
    match = _NAME.match(word, at + 1)
    end = _closing(word, at)
    if not match or end < 0:
        raise InvalidParameter(f"bad variable in: {word}")
    value, rest = environment.get(match[0], ""), word[match.end() : end]
    if rest.startswith(":-"):
        value = value or expand(rest[2:], environment)
    elif rest.startswith(":+"):
        value = expand(rest[2:], environment) if value else ""
    elif rest:
        raise InvalidParameter(f"unsupported modifier ({rest}) in substitution: {word}")
    return value, end + 1


def _closing(word: str, at: int) -> int:
    depth = 0
    for i in range(at, len(word)):
        if word[i] == "{":
            depth += 1
        elif word[i] == "}":
            depth -= 1
            if depth == 0:
                return i
    return -1
