"""From logical lines to nodes: each keyword has its own way to read the rest of its line.

The result equals, node for node, the tree that BuildKit's parser prints; `typed.py` makes instructions
of it. Source: Dockerfile reference; BuildKit's fixtures.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from wherryd.builder.dockerfile.errors import DockerfileError
from wherryd.builder.dockerfile.heredocs import Heredoc, announced
from wherryd.builder.dockerfile.lines import Source

_BLANKS = re.compile(r"[\t\v\f\r ]+")
_WITH_HEREDOCS = frozenset({"add", "copy", "run"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One instruction.

    keyword: as written. flags: "--name=value", quotes removed. words: quotes and variables as written;
    ENV and LABEL have three per pair: name, value, and "=" or "". child: the trigger of an ONBUILD.
    json: the words were a JSON array. text: the logical line. start, end: lines of the file.
    """

    keyword: str
    flags: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    child: "Node | None" = None
    json: bool = False
    text: str
    start: int
    end: int
    comments: tuple[str, ...] = ()
    heredocs: tuple[Heredoc, ...] = ()

    @property
    def name(self) -> str:
        return self.keyword.lower()

    @property
    def takes_heredocs(self) -> bool:
        """An ONBUILD does when its trigger does; a JSON array has no shell that would read one."""
        node = self.child if self.name == "onbuild" and self.child else self
        return node.name in _WITH_HEREDOCS and not node.json


@dataclass(frozen=True, slots=True)
class Warning:  # noqa: A001 - what Docker calls it
    text: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Dockerfile:
    nodes: tuple[Node, ...]
    escape: str
    syntax: str
    warnings: tuple[Warning, ...]
    source: Source

    @property
    def directives(self) -> Mapping[str, str]:
        return self.source.directives.values


def parse(data: bytes) -> Dockerfile:
    """Raises DockerfileError with its place."""
    source = Source(data)
    nodes, warnings = [], []
    lines = source.logical_lines()
    while True:
        start = source.number + 1
        try:
            line = next(lines, None)
            if line is None:
                break
            start = line.start
            node = _node(line.text, source.directives.escape, line.start, line.end, line.comments)
            found = announced(line.text) if node.takes_heredocs else []
            contents = tuple(replace(each, content=source.heredoc(each)) for each in found)
        except DockerfileError as exc:
            raise exc.at(start, source.shown(start, source.number)) from exc.__cause__
        if line.empty_continuation:
            warnings.append(Warning(f"Empty continuation line found in: {line.text}", line.end))
        nodes.append(replace(node, heredocs=contents, end=source.number))
    if not nodes:
        raise DockerfileError("file with no instructions", "begin with FROM")
    return Dockerfile(
        nodes=tuple(nodes),
        escape=source.directives.escape,
        syntax=source.directives.values.get("syntax", ""),
        warnings=tuple(warnings),
        source=source,
    )


def _node(text: str, escape: str, start: int, end: int, comments: tuple[str, ...] = ()) -> Node:
    keyword, flags, rest = split_command(text, escape)
    name = keyword.lower()
    node = Node(keyword=keyword, flags=tuple(flags), text=text, start=start, end=end, comments=comments)
    if name == "onbuild":
        return replace(node, child=_node(rest, escape, start, end)) if rest else node
    reader = _READERS.get(name)
    if reader is None:
        return replace(node, words=("",))  # the typed reader says what is wrong with it
    words, is_json = reader(rest, escape, keyword)
    return replace(node, words=tuple(words), json=is_json)


# the line's begin


def split_command(line: str, escape: str) -> tuple[str, list[str], str]:
    """(keyword, flags, the rest)."""
    keyword, *rest = _BLANKS.split(line.strip(), maxsplit=1)
    if not rest:
        return keyword, [], ""
    flags, left = _flags(rest[0], escape)
    return keyword, flags, left.strip()


def _flags(line: str, escape: str) -> tuple[list[str], str]:
    """Words that begin with "--"; a lone "--" ends them."""
    flags: list[str] = []
    at = 0
    while True:
        at += len(line[at:]) - len(line[at:].lstrip())
        if not line.startswith("--", at):
            return flags, line[at:]
        word, at = _flag(line, at, escape)
        if word == "--":
            return flags, line[at:]
        flags.append(word)


def _flag(line: str, at: int, escape: str) -> tuple[str, int]:
    """(the word with quotes and escapes removed, index behind it)."""
    word, quote = "", ""
    while at < len(line):
        character = line[at]
        at += 1
        if not quote and character.isspace():
            break
        if character == quote:
            quote = ""
        elif not quote and character in "'\"":
            quote = character
        elif character == escape:
            word += line[at : at + 1]
            at += 1
        else:
            word += character
    return word, at


# the ways to read the rest: (rest, escape, keyword) -> (words, whether they were JSON)

_Words = tuple[list[str], bool]
_Reader = Callable[[str, str, str], _Words]


def _one(rest: str, _escape: str, _keyword: str) -> _Words:
    return ([rest] if rest else []), False


def _blank_separated(rest: str, _escape: str, _keyword: str) -> _Words:
    return (_BLANKS.split(rest) if rest else []), False


def _json(rest: str) -> list[str] | None:
    """A JSON array of strings, or None when it is no JSON array. Raises DockerfileError for other arrays."""
    rest = rest.lstrip()
    if not rest.startswith("["):
        return None
    try:
        value = json.loads(rest)
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(item, str) for item in value):
        raise DockerfileError(
            "when using JSON array syntax, arrays must be comprised of strings only", 'write ["one", "two"]'
        )
    return list(value)


def _json_or_one(rest: str, escape: str, keyword: str) -> _Words:
    found = _json(rest)
    return _one(rest, escape, keyword) if found is None else (found, True)


def _json_or_list(rest: str, escape: str, keyword: str) -> _Words:
    found = _json(rest)
    return _blank_separated(rest, escape, keyword) if found is None else (found, True)


def _quoted_words(rest: str, escape: str, _keyword: str) -> _Words:
    return split_words(rest, escape), False


def _pairs(rest: str, escape: str, keyword: str) -> _Words:
    """`NAME=value NAME2=value`, or the old form `NAME the rest of the line`."""
    words = split_words(rest, escape)
    if not words:
        return [], False
    if "=" not in words[0]:
        parts = _BLANKS.split(rest, maxsplit=1)
        if len(parts) < 2:
            raise DockerfileError(
                f"{keyword.upper()} must have two arguments", f"{keyword.upper()} NAME=value"
            )
        return [parts[0], parts[1], ""], False
    found = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise DockerfileError(
                f'Syntax error - can\'t find = in "{word}". Must be of the form: name=value',
                "put a value with blanks into quotes",
            )
        found += [name, value, "="]
    return found, False


def _healthcheck(rest: str, escape: str, keyword: str) -> _Words:
    kind, *command = rest.split(maxsplit=1)[:2] if rest else [""]
    if not kind:
        return [], False
    words, is_json = _json_or_one(command[0], escape, keyword) if command else ([], False)
    return [kind, *words], is_json


def split_words(text: str, escape: str) -> list[str]:
    """Words at blanks outside of quotes; quotes and escapes stay in the words."""
    words: list[str] = []
    word, quote, at, quoted = "", "", 0, False
    while at < len(text):
        character = text[at]
        at += 1
        if not quote and character.isspace():
            if word or quoted:
                words.append(word)
            word, quoted = "", False
            continue
        if character == escape and quote != "'":
            # At the very end it escapes nothing and goes.
            if at < len(text):
                word += character + text[at]
            at += 1
            continue
        if character == quote:
            quote = ""
        elif not quote and character in "'\"":
            quote, quoted = character, True
        word += character
    return [*words, word] if word or quoted else words


_READERS: dict[str, _Reader] = {
    "add": _json_or_list,
    "arg": _quoted_words,
    "cmd": _json_or_one,
    "copy": _json_or_list,
    "entrypoint": _json_or_one,
    "env": _pairs,
    "expose": _blank_separated,
    "from": _blank_separated,
    "healthcheck": _healthcheck,
    "label": _pairs,
    "maintainer": _one,
    "run": _json_or_one,
    "shell": _json_or_one,
    "stopsignal": _one,
    "user": _one,
    "volume": _json_or_list,
    "workdir": _one,
}
