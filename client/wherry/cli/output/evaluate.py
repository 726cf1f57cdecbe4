"""Runs a tree on data. Messages are Go's: `template: :1:2: executing "" at <.Foo>: ...`."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from wherry.cli.output import values
from wherry.cli.output.functions import CallError
from wherry.cli.output.lexer import TemplateError, position
from wherry.cli.output.nodes import (
    Action,
    Break,
    Command,
    Continue,
    Dot,
    Fields,
    Function,
    If,
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


class _BreakLoop(Exception):  # noqa: N818 - control flow
    pass


class _ContinueLoop(Exception):  # noqa: N818 - control flow
    pass


class Evaluator:
    """One run over one value."""

    def __init__(self, source: str, functions: Mapping[str, Callable[..., Any]], data: Any) -> None:
        self._source = source
        self._functions = functions
        self._out: list[str] = []
        self._variables: list[tuple[str, Any]] = [("$", data)]

    def run(self, nodes: Iterable[Node], dot: Any) -> str:
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
            return self._call(first, rest, dot, piped)
        if isinstance(first, Fields):
            return self._fields(first, dot, [self._operand(operand, dot) for operand in rest], piped)
        if rest or piped is not _NOTHING:
            raise self._error(first, f"can't give argument to non-function {first.text}")
        return self._operand(first, dot)

    def _call(self, node: Function, operands: tuple[Operand, ...], dot: Any, piped: Any) -> Any:
        if node.name in {"and", "or"}:
            return self._short_circuit(node, operands, dot, piped)
        arguments = [self._operand(operand, dot) for operand in operands]
        if piped is not _NOTHING:
            arguments.append(piped)
        return self._invoke(node, self._functions[node.name], arguments)

    def _invoke(self, node: Operand, function: Callable[..., Any], arguments: list[Any]) -> Any:
        try:
            return function(*arguments)
        except CallError as exc:
            raise self._error(node, str(exc)) from exc
        except (TypeError, AttributeError, ValueError) as exc:
            # Functions are small and typed: what gets here is a wrong number or kind of arguments.
            raise self._error(node, f"wrong number or type of args for {node.text}: {exc}") from exc

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
            raise self._error(node, f"{last} has arguments but cannot be invoked as function")
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
            return None
        if value is None or isinstance(value, values.NilPointer):
            raise self._error(node, f"nil pointer evaluating interface {{}}.{name}")
        raise self._error(node, f"can't evaluate field {name} in type {type(value).__name__}")

    def _error(self, node: Operand, message: str) -> TemplateError:
        where = position(self._source, node.offset)
        return TemplateError(f'template: :{where}: executing "" at <{node.text}>: {message}')
