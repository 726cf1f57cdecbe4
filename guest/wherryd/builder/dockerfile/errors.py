"""What is wrong with a Dockerfile, and where."""

from collections.abc import Sequence
from typing import TypeVar

from wherryd.errors import EngineError, InvalidParameter

_SHOWN_CHARACTERS = 200
_SHOWN_LINES = 12

_Error = TypeVar("_Error", bound=EngineError)


class DockerfileError(InvalidParameter):
    """`str()` names the line, the problem in Docker's words, what was expected, and shows the source.

    line: first line of the instruction, from 1; 0 when the file as a whole is meant. hint: what would
    have been right, never empty.
    """

    def __init__(self, problem: str, hint: str) -> None:
        self.problem = problem
        self.hint = hint
        self.line = 0
        self.source: tuple[str, ...] = ()
        super().__init__(problem)

    def at(self, line: int, source: Sequence[str] = ()) -> "DockerfileError":
        """The same error with its place; the first place that is given stays."""
        if not self.line and line:
            self.line, self.source = line, tuple(source)
        return self

    def __str__(self) -> str:
        text = f"dockerfile parse error on line {self.line}: {self.problem}" if self.line else self.problem
        return f"{text} (hint: {self.hint}){_shown(self.line, self.source)}"


def placed(error: _Error, line: int, source: Sequence[str]) -> _Error:
    """An error of an instruction, whatever it is, with the instruction's lines; the first place stays."""
    if isinstance(error, DockerfileError):
        error.at(line, source)
    elif not error.place:
        error.place = _shown(line, source)
    return error


def _shown(first: int, lines: Sequence[str]) -> str:
    text = "".join(
        f"\n{number:6} | {line[:_SHOWN_CHARACTERS]}"
        for number, line in enumerate(lines[:_SHOWN_LINES], first)
    )
    return text + ("\n       | ..." if len(lines) > _SHOWN_LINES else "")
