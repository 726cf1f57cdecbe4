"""The tree of a parsed template. Each node keeps its offset, for messages with line and column."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Text:
    text: str


# --- operands ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Literal:
    value: Any
    offset: int
    text: str


@dataclass(frozen=True, slots=True)
class Dot:
    offset: int
    text: str = "."


@dataclass(frozen=True, slots=True)
class Variable:
    name: str  # with its $
    offset: int

    @property
    def text(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Function:
    name: str
    offset: int

    @property
    def text(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Fields:
    """`.A.B`, `$x.A` or `(...).A`. base None is the dot."""

    base: "Operand | None"
    names: tuple[str, ...]
    offset: int

    @property
    def text(self) -> str:
        base = "" if self.base is None else self.base.text
        return base + "".join(f".{name}" for name in self.names)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """declares: variables set by `:=` (or, with assigns, changed by `=`)."""

    commands: tuple["Command", ...]
    offset: int
    declares: tuple[str, ...] = ()
    assigns: bool = False

    @property
    def text(self) -> str:
        return " | ".join(command.text for command in self.commands)


@dataclass(frozen=True, slots=True)
class Command:
    operands: tuple["Operand", ...]
    offset: int

    @property
    def text(self) -> str:
        return " ".join(
            f"({operand.text})" if isinstance(operand, Pipeline) else operand.text
            for operand in self.operands
        )


Operand = Literal | Dot | Variable | Function | Fields | Pipeline

# --- statements -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Action:
    pipeline: Pipeline


@dataclass(frozen=True, slots=True)
class If:
    pipeline: Pipeline
    body: tuple["Node", ...]
    otherwise: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class With:
    pipeline: Pipeline
    body: tuple["Node", ...]
    otherwise: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Range:
    pipeline: Pipeline
    body: tuple["Node", ...]
    otherwise: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Break:
    pass


@dataclass(frozen=True, slots=True)
class Continue:
    pass


@dataclass(frozen=True, slots=True)
class Define:
    """A template with a name; stands at the end of the tree, whatever place it was written at."""

    name: str
    body: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Include:
    """`{{template "name" pipeline}}`. Without a pipeline the named template runs on nil."""

    name: str
    pipeline: Pipeline | None
    offset: int

    @property
    def text(self) -> str:
        value = "" if self.pipeline is None else f" {self.pipeline.text}"
        return f'{{{{template "{self.name}"{value}}}}}'


Node = Text | Action | If | With | Range | Break | Continue | Define | Include
