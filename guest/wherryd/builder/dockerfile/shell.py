"""Words of an instruction: quotes, escapes, $NAME and ${NAME...}.

Source: Dockerfile reference, "Environment replacement"; POSIX.1-2018, shell command language, 2.6.2.
Checked against BuildKit's tables `envVarTest` and `wordsTest`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from wherryd.builder.dockerfile.errors import DockerfileError
from wherryd.builder.dockerfile.globs import compile_glob

#: More than the kernel takes as one argument (128 KiB); stops `ENV A=$A$A` from doubling forever.
MAX_CHARACTERS = 1024 * 1024
_MAX_DEPTH = 50
_SPECIAL = "@*#?-$!0"
_QUOTE = "close it, or write a backslash before a {} that is none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lexer:
    """escape: the file's escape character. keep_quotes, keep_escapes: leave them in the words.
    keep_unset: leave a variable that is not set as it is written. ignore_quotes: they are ordinary
    characters, as in a heredoc."""

    escape: str = "\\"
    keep_quotes: bool = False
    keep_escapes: bool = False
    keep_unset: bool = False
    ignore_quotes: bool = False

    def expand(self, word: str, variables: Mapping[str, str], used: set[str] | None = None) -> str:
        """One word, blanks stay. used: names that were looked up are added. Raises DockerfileError."""
        return self._run(word, variables, used).text

    def split(self, text: str, variables: Mapping[str, str], used: set[str] | None = None) -> list[str]:
        """Words at blanks outside of quotes, after the variables were put in. Raises DockerfileError."""
        return self._run(text, variables, used).words

    def _run(self, text: str, variables: Mapping[str, str], used: set[str] | None) -> "_Output":
        reader = _Reader(self, text, variables, set() if used is None else used)
        try:
            return reader.until("", keep_escapes=self.keep_escapes)
        except DockerfileError as exc:
            raise DockerfileError(f'failed to process "{text}": {exc.problem}', exc.hint) from exc


@dataclass(slots=True)
class _Output:
    """The text as a whole, and its words."""

    parts: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    _word: list[str] = field(default_factory=list)
    _length: int = 0

    @property
    def text(self) -> str:
        return "".join(self.parts)

    def quoted(self, text: str) -> None:
        """Text in which a blank does not end a word."""
        self._grow(text)
        self._word.append(text)

    def plain(self, text: str) -> None:
        self._grow(text)
        for character in text:
            if not character.isspace():
                self._word.append(character)
            else:
                self.end_word()

    def end_word(self) -> None:
        if word := "".join(self._word):
            self.words.append(word)
        self._word.clear()

    def _grow(self, text: str) -> None:
        self._length += len(text)
        if self._length > MAX_CHARACTERS:
            raise DockerfileError(
                f"the value has more than {MAX_CHARACTERS} characters",
                "put long texts into files and COPY them",
            )
        self.parts.append(text)


class _Reader:
    def __init__(self, options: Lexer, text: str, variables: Mapping[str, str], used: set[str]) -> None:
        self._options = options
        self._text = text
        self._at = 0
        self._variables = variables
        self._used = used
        self._depth = 0

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _next(self) -> str:
        character = self._peek()
        self._at += 1
        return character

    def until(self, stop: str, *, keep_escapes: bool) -> _Output:
        """Reads to the character `stop`, which is swallowed, or with "" to the end."""
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise DockerfileError(
                f"variables are nested more than {_MAX_DEPTH} deep", "set some of them with ARG or ENV before"
            )
        out = _Output()
        while character := self._next():
            if character == stop:
                break
            if self._options.ignore_quotes and character in "'\"":
                out.quoted(character)
            elif character == "'":
                out.quoted(self._single_quoted())
            elif character == '"':
                out.quoted(self._double_quoted(keep_escapes))
            elif character == "$":
                out.plain(self._variable())
            elif character == "<":
                out.quoted(self._heredoc_sign())
            elif character == self._options.escape:
                if keep_escapes:
                    out.quoted(character)
                out.quoted(self._next())
            else:
                out.plain(character)
        else:
            if stop:
                raise DockerfileError(
                    f"unexpected end of statement while looking for matching {stop}", f"close it with {stop}"
                )
        out.end_word()
        self._depth -= 1
        return out

    def _heredoc_sign(self) -> str:
        """ "<<" and the blanks behind it belong to the word that follows."""
        if self._peek() != "<":
            return "<"
        start = self._at - 1
        self._at += 1
        while self._peek() and self._peek() in "\t\r ":
            self._at += 1
        return self._text[start : self._at]

    def _single_quoted(self) -> str:
        end = self._text.find("'", self._at)
        if end < 0:
            raise DockerfileError(
                "unexpected end of statement while looking for matching single-quote", _QUOTE.format("'")
            )
        inner, self._at = self._text[self._at : end], end + 1
        return f"'{inner}'" if self._options.keep_quotes else inner

    def _double_quoted(self, keep_escapes: bool) -> str:
        quote = '"' if self._options.keep_quotes else ""
        out = [quote]
        while character := self._next():
            if character == '"':
                return "".join([*out, quote])
            if character == "$":
                out.append(self._variable())
            elif character != self._options.escape:
                out.append(character)
            else:
                # As in a shell: special before these only, elsewhere an ordinary character.
                special = self._peek() in ('"', "$", self._options.escape)
                if keep_escapes or not special:
                    out.append(character if self._peek() else "")
                if special:
                    out.append(self._next())
        raise DockerfileError(
            "unexpected end of statement while looking for matching double-quote", _QUOTE.format('"')
        )

    def _name(self) -> str:
        start = self._at
        if self._peek().isdigit():
            while self._peek().isdigit():
                self._at += 1
        elif self._peek() and self._peek() in _SPECIAL:
            self._at += 1
        else:
            while self._peek().isalnum() or self._peek() == "_":
                self._at += 1
        return self._text[start : self._at]

    def _lookup(self, name: str) -> str | None:
        self._used.add(name)
        return self._variables.get(name)

    def _variable(self) -> str:
        """What follows a "$"."""
        start = self._at - 1
        if self._peek() != "{":
            name = self._name()
            if not name:
                return "$"
            value = self._lookup(name)
        else:
            self._at += 1
            value = self._braced()
        if value is None:
            return self._text[start : self._at] if self._options.keep_unset else ""
        return value

    def _braced(self) -> str | None:
        """What follows a "${"; None for a variable that is not set and has no other value."""
        if not self._peek():
            raise DockerfileError("syntax error: missing '}'", "${NAME}")
        if self._peek() in "{}:":
            raise DockerfileError(
                "syntax error: bad substitution", "a name follows ${, as in ${NAME:-default}"
            )
        name = self._name()
        value = self._lookup(name)
        operator = self._next()
        if operator == "}":
            return value
        if operator == "/":
            return self._replaced(value)
        colon = operator == ":"
        if colon:
            operator = self._next()
        if not operator:
            raise DockerfileError("syntax error: missing '}'", "${NAME}")
        if operator not in ("+-?" if colon else "+-?#%"):
            shown = (":" if colon else "") + operator
            raise DockerfileError(
                f"unsupported modifier ({shown}) in substitution",
                "write ${NAME:-default}, ${NAME:+set} or ${NAME}",
            )
        word = self._argument("}", keep_escapes=operator in "#%")
        if value is None and self._options.keep_unset:
            return None
        if operator in "#%":
            return _trimmed(operator, word, value or "")
        missing = value is None or (colon and not value)
        if operator == "+":
            return "" if missing else word
        if operator == "-":
            return word if missing else value
        if missing:
            reason = word or f"is not allowed to be {'unset' if value is None else 'empty'}"
            raise DockerfileError(f"{name}: {reason}", f"give it with --build-arg {name}=...")
        return value

    def _argument(self, stop: str, *, keep_escapes: bool) -> str:
        try:
            return self.until(stop, keep_escapes=keep_escapes).text
        except DockerfileError as exc:
            if not self._peek():
                where = " in ${}" if stop == "/" else ""
                raise DockerfileError(
                    f"syntax error: missing '{stop}'{where}",
                    "${NAME/pattern/text}" if where else "${NAME:-default}",
                ) from exc
            raise

    def _replaced(self, value: str | None) -> str | None:
        every = self._peek() == "/"
        if every:
            self._at += 1
        pattern = compile_glob(self._argument("/", keep_escapes=True))
        replacement = self._argument("}", keep_escapes=True)
        if value is None:
            return None
        return pattern.replace(value, replacement, every=every)


def _trimmed(operator: str, pattern: str, value: str) -> str:
    longest = pattern.startswith(operator)
    glob = compile_glob(pattern[1:] if longest else pattern)
    if operator == "#":
        return glob.cut_prefix(value, longest=longest)
    return glob.cut_suffix(value, longest=longest)
