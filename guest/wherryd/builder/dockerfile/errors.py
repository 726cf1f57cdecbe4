"""What is wrong with a Dockerfile, and where."""

from collections.abc import Sequence

from wherryd.errors import InvalidParameter

_SHOWN_CHARACTERS = 200


class DockerfileError(InvalidParameter):
    """`str()` names the line, the problem in Docker's words, what was expected, and shows the source.

    line: first line of the instruction, from 1; 0 when the file as a whole is meant. hint: what would
    have been right.
    """

    def __init__(self, problem: str, hint: str = "") -> None:
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
        if self.hint:
            text += f" (hint: {self.hint})"
        for number, line in enumerate(self.source, self.line):
            text += f"\n{number:6} | {line[:_SHOWN_CHARACTERS]}"
        return text
