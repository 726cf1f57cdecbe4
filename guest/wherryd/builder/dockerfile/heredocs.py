"""Heredocs: `RUN <<EOF`, `COPY <<-"conf" /etc/`. Source: Dockerfile reference, "Here-Documents"."""

import re
from dataclasses import dataclass

from wherryd.builder.dockerfile.errors import DockerfileError
from wherryd.builder.dockerfile.shell import Lexer

_SIGN = re.compile(r"(\d*)<<(-?)\s*([^<]*)")
_TABS = re.compile(r"^\t+", re.MULTILINE)
_WHOLE = Lexer(keep_quotes=True, keep_escapes=True, keep_unset=True)
_BARE = Lexer(keep_unset=True)
_QUOTED = Lexer(keep_quotes=True, keep_unset=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heredoc:
    """descriptor: the number before "<<". expand: variables are put in, as the name was not quoted.
    chomp: tabs at the begin of lines go. content: as in the file, before either."""

    name: str
    descriptor: int
    expand: bool
    chomp: bool
    content: str = ""

    @property
    def text(self) -> str:
        return _TABS.sub("", self.content) if self.chomp else self.content

    def ended_by(self, line: str) -> bool:
        line = line.rstrip("\r\n")
        return (line.lstrip("\t") if self.chomp else line) == self.name


def parse(word: str) -> Heredoc | None:
    """A word that announces a heredoc. Raises DockerfileError for quotes that do not close."""
    match = _SIGN.fullmatch(word)
    if match is None or not match[3]:
        return None
    names = _BARE.split(match[3], {})
    if len(names) != 1:
        return None
    raw = _QUOTED.split(match[3], {})
    quotes = sum(text.count("'") + text.count('"') for text in raw)
    kept = names[0].count("'") + names[0].count('"')
    return Heredoc(name=names[0], descriptor=int(match[1] or 0), expand=quotes == kept, chomp=bool(match[2]))


def announced(line: str) -> list[Heredoc]:
    """Those of a whole line, in order."""
    if "<<" not in line:
        return []
    try:
        words = _WHOLE.split(line, {})
    except DockerfileError:
        return []  # quotes that only the shell understands: nothing of ours
    return [found for word in words if (found := parse(word)) is not None]
