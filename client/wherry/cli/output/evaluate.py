"""Runs a tree on data. Messages are Go's: `template: :1:2: executing "" at <.Foo>: ...`."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from wherry.cli.output import values
from wherry.cli.output.functions import CallError, wrong_count
from wherry.cli.output.lexer import TemplateError, position
from wherry.cli.output.nodes import (
    Action,
    Break,
    Command,
    Continue,
    Define,
    Dot,
    Fields,
    Function,
    If,
    Include,
    Literal,
    Node,
    Operand,
    Pipeline,
    Range,
    Text,
    Variable,
    With,
)

#: "No value was piped in", which is not the same as a piped nil.
_NOTHING = object()
#: A template that includes itself ends here, well within Python's stack.
MOST_INCLUDES = 100


class _BreakLoop(Exception):  # noqa: N818 - control flow
    pass


class _ContinueLoop(Exception):  # noqa: N818 - control flow
    pass


class Evaluator:
    """One run over one value."""

    def __init__(
        self, source: str, functions: Mapping[str, Callable[..., Any]], data: Any, *, strict: bool = False
    ) -> None:
        """strict: a key that a map does not have is an error (Go's `missingkey=error`)."""
        self._source = source
        self._strict = strict
        self._defined: dict[str, tuple[Node, ...]] = {}
        self._depth = 0
        self._functions = functions
        self._out: list[str] = []
        self._variables: list[tuple[str, Any]] = [("$", data)]

    def run(self, nodes: Iterable[Node], dot: Any) -> str:
        """Raises TemplateError."""
        nodes = tuple(nodes)
        self._defined = {node.name: node.body for node in nodes if isinstance(node, Define)}
        self._walk(nodes, dot)
        return "".join(self._out)

    # --- statements ------------------------------------------------------------------------------

    def _walk(self, nodes: Iterable[Node], dot: Any) -> None:
        for node in nodes:
            match node:
                case Text():
                    self._out.append(node.text)
                case Action():
                    value = self._pipeline(node.pipeline, dot)
                    if not node.pipeline.declares:
                        self._out.append(values.text(value, top=True))
                case If() | With():
                    self._branch(node, dot)
                case Range():
                    self._range(node, dot)
                case Include():
                    self._include(node, dot)
                case Break():
                    raise _BreakLoop
                case Continue():
                    raise _ContinueLoop

    def _branch(self, node: If | With, dot: Any) -> None:
        known = len(self._variables)
        value = self._pipeline(node.pipeline, dot)
        if values.truth(value):
            self._walk(node.body, value if isinstance(node, With) else dot)
        else:
            self._walk(node.otherwise, dot)
        del self._variables[known:]

    def _include(self, node: Include, dot: Any) -> None:
        """A named template, which sees its own value and none of the variables here."""
        value = None if node.pipeline is None else self._pipeline(node.pipeline, dot)
        body = self._defined.get(node.name)
        if body is None:
            raise self._error(node, f'template "{node.name}" not defined')
        if self._depth == MOST_INCLUDES:
            raise self._error(node, f"exceeded maximum template depth ({MOST_INCLUDES})")
        outside, self._variables = self._variables, [("$", value)]
        self._depth += 1
        self._walk(body, value)
        self._depth -= 1
        self._variables = outside

    def _range(self, node: Range, dot: Any) -> None:
        known = len(self._variables)
        pairs = self._pairs(node, self._pipeline(node.pipeline, dot, declare=False))
        if not pairs:
            self._walk(node.otherwise, dot)
        for key, value in pairs:
            del self._variables[known:]
            match node.pipeline.declares:
                case (only,):
                    self._variables.append((only, value))
                case (first, second):
                    self._variables += [(first, key), (second, value)]
            try:
                self._walk(node.body, value)
            except _ContinueLoop:
                continue
            except _BreakLoop:
                break
        del self._variables[known:]

    def _pairs(self, node: Range, value: Any) -> list[tuple[Any, Any]]:
        if value is None or isinstance(value, values.NilPointer):
            return []
        if isinstance(value, list | tuple):
            return list(enumerate(value))
        if isinstance(value, dict) and not isinstance(value, values.Struct):
            return [(key, value[key]) for key in sorted(value)]
        if isinstance(value, int) and not isinstance(value, bool):
            return [(number, number) for number in range(value)]
        raise self._error(node.pipeline, f"range can't iterate over {values.text(value)}")

    # --- pipelines -------------------------------------------------------------------------------

    def _pipeline(self, node: Pipeline, dot: Any, *, declare: bool = True) -> Any:
        value: Any = _NOTHING
        for command in node.commands:
            value = self._command(command, dot, value)
        if declare:
            for name in node.declares:
                if node.assigns:
                    self._assign(name, value)
                else:
                    self._variables.append((name, value))
        return value

    def _assign(self, name: str, value: Any) -> None:
        for place in range(len(self._variables) - 1, -1, -1):
            if self._variables[place][0] == name:
                self._variables[place] = (name, value)
                return

    def _command(self, node: Command, dot: Any, piped: Any) -> Any:
        first, rest = node.operands[0], node.operands[1:]
        if isinstance(first, Function):
            return self._call(first, rest, dot, piped, node.text)
        if isinstance(first, Fields):
            return self._fields(first, dot, [self._operand(operand, dot) for operand in rest], piped)
        if isinstance(first, Literal) and first.value is None:
            raise self._error(first, "nil is not a command")
        if rest or piped is not _NOTHING:
            raise self._error(first, f"can't give argument to non-function {first.text}")
        return self._operand(first, dot)

    def _call(
        self, node: Function, operands: tuple[Operand, ...], dot: Any, piped: Any, text: str = ""
    ) -> Any:
        """text: of the whole command, which Go shows if the function itself complains."""
        if node.name in {"and", "or"}:
            return self._short_circuit(node, operands, dot, piped)
        arguments = [self._operand(operand, dot) for operand in operands]
        if piped is not _NOTHING:
            arguments.append(piped)
        return self._invoke(node, self._functions[node.name], arguments, text)

    def _invoke(
        self, node: Operand, function: Callable[..., Any], arguments: list[Any], text: str = ""
    ) -> Any:
        if wanted := wrong_count(function, len(arguments)):
            raise self._error(node, f"wrong number of args for {node.text}: {wanted} got {len(arguments)}")
        try:
            return function(*arguments)
        except CallError as exc:
            own = str(exc).startswith("error calling")
            raise self._error(node, str(exc), text if own else "") from exc
        except (TypeError, AttributeError, ValueError) as exc:
            # Functions are small and typed: what gets here is a wrong kind of argument.
            raise self._error(node, f"wrong type of args for {node.text}: {exc}") from exc

    def _short_circuit(self, node: Function, operands: tuple[Operand, ...], dot: Any, piped: Any) -> Any:
        value: Any = _NOTHING
        for operand in operands:
            value = self._operand(operand, dot)
            if values.truth(value) is (node.name == "or"):
                return value
        if piped is not _NOTHING:
            return piped
        if value is _NOTHING:
            raise self._error(node, f"wrong number of args for {node.name}: want at least 1 got 0")
        return value

    # --- operands --------------------------------------------------------------------------------

    def _operand(self, node: Operand, dot: Any) -> Any:
        match node:
            case Literal():
                return node.value
            case Dot():
                return dot
            case Variable():
                return next(value for name, value in reversed(self._variables) if name == node.name)
            case Pipeline():
                return self._pipeline(node, dot)
            case Function():
                return self._call(node, (), dot, _NOTHING)
            case Fields():
                return self._fields(node, dot, [], _NOTHING)

    def _fields(self, node: Fields, dot: Any, arguments: list[Any], piped: Any) -> Any:
        value = dot if node.base is None else self._operand(node.base, dot)
        if piped is not _NOTHING:
            arguments = [*arguments, piped]
        *path, last = node.names
        for name in path:
            value = self._field(node, value, name)
        if isinstance(value, values.Row) and last in value.methods:
            return self._invoke(node, value.methods[last], arguments)
        value = self._field(node, value, last)
        if arguments:
            raise self._error(node, f"{last} is not a method but has arguments")
        return value

    def _field(self, node: Fields, value: Any, name: str) -> Any:
        if isinstance(value, values.Struct):
            try:
                return values.field(value, name)
            except KeyError:
                raise self._error(node, f'map has no entry for key "{name}"') from None
        if isinstance(value, dict) and name in value:
            return value[name]
        if isinstance(value, values.Row):
            raise self._error(node, f"can't evaluate field {name}")
        if isinstance(value, dict):
            if self._strict:
                raise self._error(node, f'map has no entry for key "{name}"')
            return None
        if value is None and not self._strict:
            return None  # nothing of nothing is nothing
        if value is None or isinstance(value, values.NilPointer):
            raise self._error(node, f"nil pointer evaluating interface {{}}.{name}")
        raise self._error(node, f"can't evaluate field {name} in type interface {{}}")

    def _error(self, node: Operand | Include, message: str, text: str = "") -> TemplateError:
        where = position(self._source, node.offset)
        return TemplateError(f'template: :{where}: executing "" at <{text or node.text}>: {message}')
