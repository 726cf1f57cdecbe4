"""Text and actions of a Go template, as tokens. Source: Go's text/template documentation."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class TemplateError(Exception):
    """A template is malformed or does not fit the data. The text names line and column, as Go does."""


class Kind(StrEnum):
    TEXT = "text"
    OPEN = "open"
    CLOSE = "close"
    FIELD = "field"  # .Name
    DOT = "dot"
    VARIABLE = "variable"  # $ or $name
    NAME = "name"  # function, keyword, true, false, nil
    STRING = "string"
    NUMBER = "number"
    CHAR = "char"
    DECLARE = ":="
    ASSIGN = "="
    PIPE = "|"
    LEFT = "("
    RIGHT = ")"
    COMMA = ","
    END = "end of template"


@dataclass(frozen=True, slots=True)
class Token:
    """offset: characters from the start. spaced: blanks stand before it (`.A .B` is not `.A.B`)."""

    kind: Kind
    text: str
    offset: int
    spaced: bool = False


_ACTION = re.compile(
    r"""
      (?P<space>[ \t\r\n]+)
    | (?P<field>\.[^\W\d]\w*)
    | (?P<number>[+-]?(?:0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+
                        |\d[\d_]*(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+))
    | (?P<dot>\.)
    | (?P<variable>\$\w*)
    | (?P<name>[^\W\d]\w*)
    | (?P<string>"(?:[^"\\\n]|\\.)*"|`[^`]*`)
    | (?P<char>'(?:[^'\\\n]|\\.)+')
    | (?P<declare>:=)
    | (?P<symbol>[=|(),])
    """,
    re.VERBOSE,
)
_SYMBOLS = {"=": Kind.ASSIGN, "|": Kind.PIPE, "(": Kind.LEFT, ")": Kind.RIGHT, ",": Kind.COMMA}
_BLANKS = " \t\r\n"
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)


def position(source: str, offset: int) -> str:
    """`line:column` as Go counts them: lines from 1, columns from 0."""
    before = source[:offset]
    return f"{before.count(chr(10)) + 1}:{offset - (before.rfind(chr(10)) + 1)}"


def syntax_error(source: str, offset: int, message: str) -> TemplateError:
    line = source[:offset].count("\n") + 1
    return TemplateError(f"template: :{line}: {message}")


def tokens(source: str) -> Iterator[Token]:
    """All tokens; texts are trimmed already where `{{-` or `-}}` asks for it. Raises TemplateError."""
    offset = 0
    trim_next = False
    while True:
        start = source.find("{{", offset)
        text = source[offset:] if start < 0 else source[offset:start]
        if trim_next:
            text = text.lstrip(_BLANKS)
        if start < 0:
            if text:
                yield Token(Kind.TEXT, text, offset)
            yield Token(Kind.END, "", len(source))
            return
        inner = start + 2
        if source[inner : inner + 1] == "-" and source[inner + 1 : inner + 2] in set(_BLANKS):
            text = text.rstrip(_BLANKS)
            inner += 1
        if text:
            yield Token(Kind.TEXT, text, offset)
        comment = _COMMENT.match(source, inner + len(source[inner:]) - len(source[inner:].lstrip(_BLANKS)))
        if comment:
            offset, trim_next = _close(source, comment.end())
            continue
        yield Token(Kind.OPEN, "{{", start)
        offset, trim_next, inside = _action(source, inner)
        yield from inside
        yield Token(Kind.CLOSE, "}}", offset - 2)


def _close(source: str, offset: int) -> tuple[int, bool]:
    """After the `}}` at offset, and whether it trims."""
    match = re.compile(r"\s*(-?)\}\}").match(source, offset)
    if match is None:
        raise syntax_error(source, offset, "comment ends before closing delimiter")
    return match.end(), bool(match[1])


#: What a quote begins that does not end.
_UNTERMINATED = {
    '"': "unterminated quoted string",
    "`": "unterminated raw quoted string",
    "'": "unterminated character constant",
}
_CLOSE = re.compile(r"(?P<trim>[ \t\r\n]+-)?\}\}")


def _action(source: str, offset: int) -> tuple[int, bool, list[Token]]:
    """Tokens up to `}}`; the offset after it; whether it trims what follows."""
    found: list[Token] = []
    spaced = True
    while True:
        closing = _CLOSE.match(source, offset)
        if closing:
            return closing.end(), closing["trim"] is not None, found
        match = _ACTION.match(source, offset)
        if match is None:
            if offset >= len(source):
                raise syntax_error(source, offset, "unclosed action")
            if source[offset] in _UNTERMINATED:
                raise syntax_error(source, offset, _UNTERMINATED[source[offset]])
            raise syntax_error(source, offset, f"unexpected {source[offset]!r} in action")
        kind, text = match.lastgroup, match[0]
        offset = match.end()
        if kind == "space":
            spaced = True
            continue
        token_kind = _SYMBOLS[text] if kind == "symbol" else Kind[str(kind).upper()]
        found.append(Token(token_kind, text, match.start(), spaced))
        spaced = False
