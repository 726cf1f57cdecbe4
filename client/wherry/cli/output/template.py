"""Go templates, as far as Docker's `--format` uses them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from wherry.cli.output.evaluate import Evaluator
from wherry.cli.output.functions import FUNCTIONS
from wherry.cli.output.lexer import TemplateError
from wherry.cli.output.nodes import Node
from wherry.cli.output.parser import parse

__all__ = ["Template", "TemplateError"]


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template; render as often as you like."""

    source: str
    nodes: tuple[Node, ...]

    @classmethod
    def parse(cls, source: str) -> "Template":
        """Raises TemplateError."""
        return cls(source, parse(source, [*FUNCTIONS, "and", "or"]))

    def render(
        self, data: Any, functions: Mapping[str, Callable[..., Any]] = FUNCTIONS, *, strict: bool = False
    ) -> str:
        """data: JSON values, `values.Row` or `values.Struct`. strict: maps have no zero values.

        Raises TemplateError.
        """
        return Evaluator(self.source, functions, data, strict=strict).run(self.nodes, data)
