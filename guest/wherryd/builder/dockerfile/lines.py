"""From a Dockerfile's text to logical lines: comments out, continuations joined.

Source: Dockerfile reference, "Format" and "escape"; what BuildKit does with comments and empty lines
inside of a continued instruction.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from wherryd.builder.dockerfile.directives import Directives
from wherryd.builder.dockerfile.errors import DockerfileError
from wherryd.builder.dockerfile.heredocs import Heredoc

#: The largest file that is read; a Dockerfile of a few hundred lines has some 20 kB.
MAX_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class LogicalLine:
    """text: the joined line. start, end: lines of the file, from 1. comments: those right above it.
    empty_continuation: an empty line stood inside, which Docker warns of."""

    text: str
    start: int
    end: int
    comments: tuple[str, ...]
    empty_continuation: bool


class Source:
    """The lines of a file, read once from top to bottom. `shown` gives lines for error messages."""

    def __init__(self, data: bytes) -> None:
        if len(data) > MAX_BYTES:
            raise DockerfileError(
                f"the Dockerfile has more than {MAX_BYTES} bytes", "put data into files and COPY them"
            )
        text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
        self._lines = _split(text)
        self.directives = Directives()
        #: Name -> number of its line.
        self.directive_lines: dict[str, int] = {}
        #: Number of the line that was read last.
        self.number = 0

    def shown(self, first: int, last: int) -> list[str]:
        return [line.rstrip("\r\n") for line in self._lines[first - 1 : max(first, last)]]

    def _read(self) -> str | None:
        if self.number == len(self._lines):
            return None
        self.number += 1
        return self._lines[self.number - 1]

    def heredoc(self, heredoc: Heredoc) -> str:
        """The lines up to the heredoc's end. Raises DockerfileError when there is none."""
        content: list[str] = []
        while (line := self._read()) is not None:
            if heredoc.ended_by(line):
                return "".join(content)
            content.append(line)
        raise DockerfileError(
            f"unterminated heredoc: no line {heredoc.name!r} follows", "close it with its name"
        )

    def logical_lines(self) -> Iterator[LogicalLine]:
        """Raises DockerfileError for a bad directive."""
        comments: list[str] = []
        while (line := self._read()) is not None:
            line = line.rstrip("\r\n").lstrip()
            if self._directive(line):
                continue
            if line.startswith("#"):
                comment = line[1:].strip()
                comments = [*comments, comment] if comment else []
                continue
            text, more = self._joined(line)
            if not text and not more:
                continue
            start, empty = self.number, False
            if more:
                text, empty = self._continued(text)
            yield LogicalLine(
                text=text, start=start, end=self.number, comments=tuple(comments), empty_continuation=empty
            )
            comments = []

    def _directive(self, line: str) -> bool:
        known = set(self.directives.values)
        try:
            found = self.directives.take(line)
        except DockerfileError as exc:
            raise exc.at(self.number, self.shown(self.number, self.number)) from None
        self.directive_lines |= dict.fromkeys(self.directives.values.keys() - known, self.number)
        return found

    def at_directive(self, error: DockerfileError, name: str) -> DockerfileError:
        """The error with the directive's line."""
        number = self.directive_lines[name]
        return error.at(number, self.shown(number, number))

    def _joined(self, line: str) -> tuple[str, bool]:
        """(line without its continuation mark, whether it had one). A doubled mark is no mark."""
        escape = re.escape(self.directives.escape)
        match = re.search(rf"(?:(?<=[^{escape}])|^){escape}[ \t]*\Z", line)
        return (line[: match.start()], True) if match else (line, False)

    def _continued(self, text: str) -> tuple[str, bool]:
        parts, empty, more = [text], False, True
        while more and (line := self._read()) is not None:
            if line.lstrip().startswith("#"):
                continue
            if not line.strip():
                empty = True
                continue
            part, more = self._joined(line.rstrip("\r\n"))
            parts.append(part)
        return "".join(parts), empty


def _split(text: str) -> list[str]:
    """Lines end at a line feed alone; str.splitlines knows ten more ends."""
    *lines, last = text.split("\n")
    return [line + "\n" for line in lines] + ([last] if last else [])
