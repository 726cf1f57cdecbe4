"""Tokens -> tree, as Go's text/template has them."""

import ast
from collections.abc import Mapping, Sequence

from wherry.cli.output.lexer import Kind, TemplateError, Token, syntax_error, tokens
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

_BLOCKS: Mapping[str, type[If] | type[With] | type[Range]] = {"if": If, "with": With, "range": Range}
#: Words with a template's name.
_NAMED = frozenset({"define", "template", "block"})
#: Go knows these; everything else that is a name must be a function.
_CONSTANTS = {"true": True, "false": False, "nil": None}


class Parser:
    """One pass over the tokens. functions: names that may be called."""

    def __init__(self, source: str, functions: frozenset[str]) -> None:
        self._source = source
        self._functions = functions
        self._tokens = list(tokens(source))
        self._next = 0
        self._variables = ["$"]
        self._loops = 0
        self._depth = 0
        self._defined: dict[str, tuple[Node, ...]] = {}

    def parse(self) -> tuple[Node, ...]:
        """The whole template. Raises TemplateError."""
        body, stop = self._body()
        if stop is not None:
            raise self._error(stop, f"unexpected {{{{{stop.text}}}}}")
        return (*body, *(Define(name, inner) for name, inner in self._defined.items()))

    # --- statements ------------------------------------------------------------------------------

    def _body(self) -> tuple[tuple[Node, ...], Token | None]:
        """Nodes up to `end`, `else` or the template's end; the keyword that stopped it is consumed."""
        nodes: list[Node] = []
        self._depth += 1
        while True:
            token = self._take()
            if token.kind is Kind.END:
                self._depth -= 1
                return tuple(nodes), None
            if token.kind is Kind.TEXT:
                nodes.append(Text(token.text))
                continue
            word = self._peek()
            if word.kind is Kind.NAME and word.text in {"end", "else"}:
                self._depth -= 1
                return tuple(nodes), self._take()
            nodes.append(self._statement())

    def _statement(self) -> Node:
        word = self._peek()
        if word.kind is Kind.NAME:
            if word.text in _BLOCKS:
                self._take()
                return self._block(word)
            if word.text in {"break", "continue"}:
                self._take()
                if not self._loops:
                    raise self._error(word, f"{{{{{word.text}}}}} outside {{{{range}}}}")
                self._expect(Kind.CLOSE, word.text)
                return Break() if word.text == "break" else Continue()
            if word.text in _NAMED:
                return self._named(self._take())
        pipeline = self._pipeline(Kind.CLOSE, "command")
        return Action(pipeline)

    def _named(self, word: Token) -> Node:
        """`define`, `template` and `block`, which is both at once. Raises TemplateError."""
        if word.text == "define" and self._depth > 1:
            raise self._error(word, "unexpected {{define}}")
        token = self._take()
        if token.kind is not Kind.STRING:
            raise self._error(token, f"unexpected {token.text!r} in {word.text} clause")
        name = str(self._constant(token))
        if word.text == "template" and self._peek().kind is Kind.CLOSE:
            self._take()
            return Include(name, None, token.offset)
        pipeline = None
        if word.text == "define":
            self._expect(Kind.CLOSE, "define clause")
        else:
            pipeline = self._pipeline(Kind.CLOSE, f"{word.text} clause")
        if word.text != "template":
            # Inside, only the value that it is called with is known.
            outside, self._variables, loops, self._loops = self._variables, ["$"], self._loops, 0
            body, stop = self._body()
            self._closed(stop)
            self._variables, self._loops = outside, loops
            self._defined[name] = body
        return Text("") if word.text == "define" else Include(name, pipeline, token.offset)

    def _block(self, word: Token) -> Node:
        known = len(self._variables)
        pipeline = self._pipeline(Kind.CLOSE, word.text, pair=word.text == "range")
        self._loops += word.text == "range"
        body, stop = self._body()
        self._loops -= word.text == "range"
        otherwise: tuple[Node, ...] = ()
        if stop is not None and stop.text == "else":
            follow = self._peek()
            if follow.kind is Kind.NAME and follow.text in {"if", "with"}:
                # `else if` ends with the same `end` as its `if`.
                self._take()
                otherwise, stop = (self._block(follow),), Token(Kind.NAME, "end", follow.offset)
            else:
                self._expect(Kind.CLOSE, "else")
                otherwise, stop = self._body()
                self._closed(stop)
        else:
            self._closed(stop)
        del self._variables[known:]
        return _BLOCKS[word.text](pipeline, body, otherwise)

    def _closed(self, stop: Token | None) -> None:
        """After the word that must be `end`, its `}}`."""
        if stop is None:
            raise self._error(self._tokens[-1], "unexpected EOF")
        if stop.text != "end":
            raise self._error(stop, f"expected end; found {{{{{stop.text}}}}}")
        self._expect(Kind.CLOSE, "end")

    # --- pipelines -------------------------------------------------------------------------------

    def _pipeline(self, until: Kind, context: str, *, pair: bool = False) -> Pipeline:
        start = self._peek()
        declares, assigns = self._declarations(pair)
        commands = [self._command(context)]
        while self._peek().kind is Kind.PIPE:
            self._take()
            commands.append(self._command(context))
        self._expect(until, context)
        for command in commands[1:]:
            if isinstance(command.operands[0], Literal | Dot):
                raise self._error(start, f"non executable command in pipeline: {command.text}")
        if not assigns:
            self._variables += declares
        return Pipeline(tuple(commands), start.offset, declares, assigns)

    def _declarations(self, pair: bool) -> tuple[tuple[str, ...], bool]:
        """`$x :=`, `$x =` or, in range, `$i, $x :=`."""
        ahead = self._tokens[self._next : self._next + 4]
        kinds = [token.kind for token in ahead]
        if kinds[:2] in ([Kind.VARIABLE, Kind.DECLARE], [Kind.VARIABLE, Kind.ASSIGN]):
            self._next += 2
            return (ahead[0].text,), kinds[1] is Kind.ASSIGN
        if pair and kinds == [Kind.VARIABLE, Kind.COMMA, Kind.VARIABLE, Kind.DECLARE]:
            self._next += 4
            return (ahead[0].text, ahead[2].text), False
        return (), False

    def _command(self, context: str) -> Command:
        start = self._peek()
        operands: list[Operand] = []
        while (token := self._peek()).kind not in {Kind.CLOSE, Kind.PIPE, Kind.RIGHT, Kind.END}:
            if operands and not token.spaced:
                raise self._error(token, f"unexpected {token.text!r} in operand")
            operands.append(self._operand())
        if not operands:
            raise self._error(start, f"missing value for {context}")
        return Command(tuple(operands), start.offset)

    def _operand(self) -> Operand:
        token = self._take()
        operand = self._simple(token)
        names: list[str] = []
        chained = self._peek().offset
        while self._peek().kind is Kind.FIELD and not self._peek().spaced:
            names.append(self._take().text[1:])
        if isinstance(operand, Fields):
            # Go gives a chain the place of its second name.
            return Fields(operand.base, operand.names + tuple(names), chained if names else operand.offset)
        if names:
            if isinstance(operand, Literal | Dot | Function):
                raise self._error(token, f"unexpected . after term {token.text!r}")
            return Fields(operand, tuple(names), chained)
        return operand

    def _simple(self, token: Token) -> Operand:
        match token.kind:
            case Kind.FIELD:
                return Fields(None, (token.text[1:],), token.offset)
            case Kind.DOT:
                return Dot(token.offset)
            case Kind.VARIABLE:
                if token.text not in self._variables:
                    raise self._error(token, f'undefined variable "{token.text}"')
                return Variable(token.text, token.offset)
            case Kind.LEFT:
                return self._pipeline(Kind.RIGHT, "parenthesized pipeline")
            case Kind.NAME:
                if token.text in _CONSTANTS:
                    return Literal(_CONSTANTS[token.text], token.offset, token.text)
                if token.text not in self._functions:
                    raise self._error(token, f'function "{token.text}" not defined')
                return Function(token.text, token.offset)
            case Kind.STRING | Kind.NUMBER | Kind.CHAR:
                return Literal(self._constant(token), token.offset, token.text)
        raise self._error(token, f"unexpected {token.text!r} in operand")

    def _constant(self, token: Token) -> str | int | float:
        if token.text.startswith("`"):
            return token.text[1:-1]
        try:
            # Go's and Python's escapes and numbers agree in everything a format string uses.
            value = ast.literal_eval(token.text.removeprefix("+"))
        except (SyntaxError, ValueError) as exc:
            raise self._error(token, f"bad {token.kind} syntax: {token.text}") from exc
        if token.kind is Kind.CHAR:
            if len(value) != 1:
                raise self._error(token, f"malformed character constant: {token.text}")
            return ord(value)
        if not isinstance(value, str | int | float):
            raise self._error(token, f"bad {token.kind} syntax: {token.text}")
        return value

    # --- tokens ----------------------------------------------------------------------------------

    def _peek(self) -> Token:
        return self._tokens[self._next]

    def _take(self) -> Token:
        token = self._tokens[self._next]
        if token.kind is not Kind.END:
            self._next += 1
        return token

    def _expect(self, kind: Kind, context: str) -> None:
        token = self._take()
        if token.kind is not kind:
            found = "EOF" if token.kind is Kind.END else repr(token.text)
            raise self._error(token, f"unexpected {found} in {context}")

    def _error(self, token: Token, message: str) -> TemplateError:
        return syntax_error(self._source, token.offset, message)


def parse(source: str, functions: Sequence[str]) -> tuple[Node, ...]:
    """The tree of a template. Raises TemplateError."""
    return Parser(source, frozenset(functions)).parse()
