"""Everything that can be wrong with a Dockerfile: a file, the line at fault, and what is said of it.

READING is found out by reading the file alone, BUILDING by an engine while it builds. Which of the builder's
errors have no row here is found by `without_a_row`.
"""

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

BASE = "busybox:test"
DEEP = "d/" * 450
DEEPER = "d/" * 520
#: "-> " begins a link's target.
CONTEXT = {"a": "", "b": "", "loop": "-> loop", "over/bin": "a file", "over2/bin/": "", "sub/bin": ""}
NESTED_CONTEXT = {f"{DEEP}f": "", f"deeper/{DEEPER}f": ""}


@dataclass(frozen=True, slots=True)
class Row:
    """line: of the file, from 1; 0 when it is about the file as a whole. problem: a part of what is said."""

    text: str
    line: int
    problem: str

    @property
    def files(self) -> dict[str, str]:
        """The context's."""
        return {"Dockerfile": self.text, **(NESTED_CONTEXT if "nested" in self.problem else CONTEXT)}

    @property
    def shown(self) -> str:
        """The line as the message shows it."""
        return f"\n{self.line:6} | {self.text.splitlines()[self.line - 1]}"[:200]

    @property
    def name(self) -> str:
        """For a test's id."""
        return re.sub(r"\W+", "-", self.problem)[:60].strip("-")


def _after(line: str, problem: str) -> Row:
    return Row(f"FROM {BASE}\n\n{line}\n", 3, problem)


READING = [
    Row("# escape=x\nFROM a\n", 1, "invalid ESCAPE 'x'. Must be ` or \\"),
    Row("# escape=`\n# escape=`\nFROM a\n", 2, "only one escape parser directive can be used"),
    Row("# syntax=mine\nFROM a\n", 1,
        'the syntax directive asks for the frontend "mine", which is not available'),
    Row("# escape=`\n# check=loud\nFROM a\n", 2, 'invalid check option "loud"'),
    Row("RUN x\nFROM a\n", 1, "no build stage in current context"),
    Row("ARG X\n", 0, "no build stage in current context"),
    Row("# nothing\n", 0, "file with no instructions"),
    Row("FROM a\n" + "# filled up\n" * 400_000, 0, "the Dockerfile has more than 4194304 bytes"),
    Row("FROM a AS 1b\n", 1, 'invalid name for build stage: "1b"'),
    Row("FROM a b\n", 1, "FROM requires either one or three arguments"),
    _after("FRMO x", "unknown instruction: FRMO"),
    _after("COPY x", "COPY requires at least two arguments, but only one was provided."),
    _after("ADD", "ADD requires at least two arguments, but only none were provided."),
    _after("COPY --chwon=1 a b", "unknown flag: --chwon"),
    _after("COPY --from=a --from=b x y", "duplicate flag specified: from"),
    _after("COPY --link=maybe x y", "expecting boolean value for flag link, not: maybe"),
    _after("COPY --from x y", "missing a value on flag: from"),
    _after("COPY a <<EOF\nEOF", "COPY cannot accept a heredoc as a destination"),
    _after("RUN <<EOF\necho", "unterminated heredoc: no line 'EOF' follows"),
    _after("ENV =x", "ENV names can not be blank"),
    _after("LABEL =x", "LABEL names can not be blank"),
    _after("ENV a", "ENV must have two arguments"),
    _after("ENV a=b c", 'can\'t find = in "c". Must be of the form: name=value'),
    _after("ARG =x", "ARG names can not be blank"),
    _after("SHELL /bin/sh -c", "SHELL requires the arguments to be in JSON form"),
    _after('CMD ["a", 1]', "when using JSON array syntax, arrays must be comprised of strings only"),
    _after("HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments"),
    _after("HEALTHCHECK CMD", "missing command after HEALTHCHECK CMD"),
    _after("HEALTHCHECK CONNECT x", 'unknown type "CONNECT" in HEALTHCHECK (try CMD)'),
    _after("HEALTHCHECK --interval=1us CMD x", 'interval "interval" cannot be less than 1ms'),
    _after("HEALTHCHECK --timeout=soon CMD x", "--timeout: "),
    _after("HEALTHCHECK --retries=-1 CMD x", "--retries cannot be negative (-1)"),
    _after("HEALTHCHECK --retries=few CMD x", "--retries: 'few' is not a number"),
    _after("ONBUILD ONBUILD RUN x", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
    _after("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"),
    _after("ONBUILD", "ONBUILD requires at least one argument"),
    _after("RUN --network=sea x", 'unsupported network mode "sea"'),
    _after("RUN --security=none x", 'unsupported security mode "none"'),
    _after("RUN --device=gpu x", "RUN --device is not available: a build has no devices of the machine"),
    _after("RUN --mount=from=$x,target=/ x",
           "'from' doesn't support variable expansion, define alias stage instead"),
    _after("WORKDIR", "WORKDIR requires exactly one argument"),
    _after("EXPOSE", "EXPOSE requires at least one argument"),
    _after('VOLUME [" "]', "VOLUME specified can not be an empty string"),
]  # fmt: skip

#: What a build finds out. {web} is a web server with the file /f.
BUILDING = [
    Row("FROM $NOTHING\n", 1, "base name ($NOTHING) should not be blank"),
    Row("ARG A\nARG B=${A\nFROM x\n", 2, "syntax error: missing '}'"),
    Row(f"FROM --platform=linux/s390x {BASE}\n", 1, f"image {BASE} was found but is for linux/"),
    Row("FROM 127.0.0.1:1/nothing:here\n", 1, "127.0.0.1:1"),
    Row("FROM scratch\nRUN true\n", 2, "RUN on an empty image: nothing is in it that could run"),
    Row("FROM scratch\n", 1, "No image was generated. Is your Dockerfile empty?"),
    Row(f"FROM {BASE}\nRUN ln -s /no/where /up\nCOPY a /up/a\n", 3,
        "cannot make the folder /up: a link that leads nowhere is in its place"),
    Row(f"FROM {BASE}\nRUN touch /f\nCOPY over2 /f/\n", 3, "cannot copy to non-directory: /f"),
    Row(f"FROM {BASE}\nRUN mkdir /t && touch /t/bin\nCOPY over2 /t/\n", 3,
        "cannot copy to non-directory: /t/bin"),
    Row(f"FROM {BASE}\n\nRUN echo \\\n  two lines; exit 3\n", 3, "returned a non-zero code: 3"),
    _after("RUN exit 3", "The command '/bin/sh -c exit 3' returned a non-zero code: 3"),
    _after('RUN ["/nope"]', "/nope"),
    # variables
    _after("LABEL a=${X", "syntax error: missing '}'"),
    _after("LABEL a=${", "syntax error: missing '}'"),
    _after("LABEL a=${}", "syntax error: bad substitution"),
    _after('LABEL a="${X:?give it}"', "X: give it"),
    _after("LABEL a=${X^^}", "unsupported modifier (^) in substitution"),
    _after("LABEL a=${PATH/x", "syntax error: missing '/' in ${}"),
    _after(r"LABEL a=${PATH#\x}", r"invalid pattern (\x) in substitution: invalid escape '\x'"),
    _after("LABEL a=" + "${X:-" * 60 + "}" * 60, "variables are nested more than 50 deep"),
    _after("LABEL a='", "unexpected end of statement while looking for matching single-quote"),
    _after('LABEL a="', "unexpected end of statement while looking for matching double-quote"),
    _after("LABEL a=" + "${PATH:-x}" * 20_000, "the value has more than 1048576 characters"),
    # metadata
    _after("LABEL $X=1", "LABEL names can not be blank"),
    _after("EXPOSE 99999", "invalid containerPort: 99999"),
    _after("VOLUME $X", "VOLUME specified can not be an empty string"),
    _after("STOPSIGNAL SIGNOPE", "Invalid signal: SIGNOPE"),
    # RUN
    _after("RUN --security=insecure true",
           "RUN --security=insecure needs the entitlement security.insecure, which was not given"),
    _after("RUN --mount=type=floppy,target=/x true", 'unsupported mount type "floppy"'),
    _after("RUN --mount=type=cache true", "a cache mount needs a target"),
    _after("RUN --mount=target=/x,size=1m true", "unexpected key 'size' for mount type 'bind'"),
    _after("RUN --mount=type=tmpfs,target=/x,size=big true", "invalid value for size: big"),
    _after("RUN --mount=type=cache,target=/x,uid=me true", "invalid value me for uid"),
    _after("RUN --mount=target=/x,ro=perhaps true", "invalid value for ro: perhaps"),
    _after("RUN --mount=type=cache,target=/x,sharing=odd true", 'unsupported sharing value "odd"'),
    _after("RUN --mount=type=secret true", "invalid secret mount. one of source, target required"),
    _after("RUN --mount=type=secret,id=a,src=b true", "both source and id can't be set"),
    _after("RUN --mount=type=secret,id=a,from=b true", "secret mount should not have a from"),
    _after("RUN --mount=nonsense true", "invalid field 'nonsense' must be a key=value pair"),
    _after("RUN --mount=target=/x,what=1 true", "unexpected key 'what' in 'what=1'"),
    _after("RUN --mount='\"target=/x' true", "failed to parse csv mounts: "),
    _after("RUN --mount=type=secret,id=key,required true", "secret key: not found"),
    _after("RUN --mount=target=/x,source=nope true",
           'bind mount source "nope": not found in the build context'),
    _after("RUN --mount=from=127.0.0.1:1/nothing:here,target=/x true", "127.0.0.1:1"),
    _after("RUN --mount=from=9,target=/x true", "invalid from flag value 9: index out of bounds"),
    # COPY and ADD
    _after("COPY --from=0 a /", "invalid from flag value 0: refers to current build stage"),
    _after("COPY --from=127.0.0.1:1/nothing:here a /", "127.0.0.1:1"),
    _after("COPY a $X", "the destination is empty"),
    _after("COPY --chmod=rw a /",
           'invalid chmod parameter: "rw". it should be octal string and between 0 and 07777'),
    _after("COPY --chown=nobody-here a /", "unable to find user nobody-here"),
    _after("COPY a b /not-a-folder", "When using COPY with more than one source file, "
           "the destination must be a directory and end with a /"),
    _after(f"COPY --from={BASE} /bin/ls /bin/cat /x", "When using COPY with more than one source file, "
           "the destination must be a directory and end with a /"),
    _after("COPY nope /",
           "file not found in build context or excluded by .dockerignore: stat nope: file does not exist"),
    _after(f"COPY --from={BASE} nope /", "stat nope: file does not exist"),
    _after("COPY ../secret /", "forbidden path outside the build context: ../secret"),
    _after("COPY *.nope /", "no source files were specified: nothing matches *.nope"),
    _after("COPY a[ /", 'syntax error in pattern "a[": a "[" is not closed'),
    _after("COPY loop /", "loop: too many links on its way"),
    _after("COPY --parents sub/**/./bin /x/", "sub/**/./bin: ** cannot stand before /./"),
    _after("COPY --parents d/**/f /x/", "folders are nested more than 400 deep"),
    _after("COPY d /x/", "folders are nested more than 400 deep"),
    _after("COPY deeper /x/", "folders are nested more than 500 deep"),
    _after("COPY over /", "cannot replace the directory bin with a file"),
    _after("COPY http://127.0.0.1:1/f /", "source can't be a URL for COPY"),
    _after("ADD --checksum=sha256:1 a /", "checksum can't be specified for sources that are no downloads"),
    _after("ADD --checksum=sha256:1 {web}/f a /", "checksum can't be specified for multiple sources"),
    _after("ADD --checksum=sha256:1 {web}/f /", 'invalid checksum "sha256:1"'),
    _after(f"ADD --checksum=sha256:{'0' * 64} {{web}}/f /", "/f has digest sha256:"),
    _after("ADD {web}/ /", "cannot determine filename for source "),
    _after("ADD {web}/nope /", "the server answers 404"),
    _after("ADD http://127.0.0.1:1/f /", "cannot download http://127.0.0.1:1/f: "),
    _after("ADD git@example.com:x.git /", "git@example.com:x.git: the engine does not fetch over ssh"),
    _after("ADD --checksum=zz https://127.0.0.1:1/x.git /",
           "invalid checksum 'zz': of a git source it is the commit's hash"),
    _after("ADD https://127.0.0.1:1/x.git?depth=1 /", "unknown key depth (known: ref,"),
    _after("ADD https://127.0.0.1:1/x.git#main:../up /", "the folder ../up is not in the repository"),
    _after("ADD --keep-git-dir https://127.0.0.1:1/x.git#main:sub /", "a folder of a repository has no .git"),
]  # fmt: skip

#: Of what no row is possible, and where it is tested.
ELSEWHERE = {
    "a trigger of image": "test_builder_errors.py",
    "in the trigger": "test_builder_refusals.py",
    "a variable cannot hold a zero byte": "test_builder_refusals.py",
    "target stage": "test_builder_refusals.py",
    "lint violation found for rules": "test_builder_lint.py",
    "the download has more than": "test_builder_errors.py",
    "ADD failed": "the rows of what cannot be downloaded",
    "failed: ": "the rows of what cannot be copied",
}
_ERRORS = ("DockerfileError", "CopyError", "InvalidParameter", "NotFound", "RunFailed")
#: Modules whose errors are those of a file's line.
_MODULES = (
    "dockerfile/*.py", "lint/*.py", "copying/child.py", "copying/digest.py", "copying/sources.py",
    "copying/tree.py", "git/address.py", "build.py", "download.py", "fetching.py", "lending.py",
    "metadata.py",
    "plan.py", "run.py", "runmounts.py", "transfer.py",
)  # fmt: skip


def without_a_row(builder: Path, said: Iterable[str]) -> list[str]:
    """Places in the builder's modules that raise an error whose words are in nothing that was said."""
    texts = list(said)
    return [
        f"{path.name}:{number}: {words}"
        for module in _MODULES
        for path in sorted(builder.glob(module))
        for number, words in _raised(ast.parse(path.read_text()))
        if not any(_in_order(words, text) for text in texts)
        and not any(each in word for each in ELSEWHERE for word in words)
    ]


def _in_order(words: list[str], text: str) -> bool:
    at = 0
    for word in words:
        at = text.find(word, at)
        if at < 0:
            return False
        at += len(word)
    return True


def _raised(module: ast.Module) -> Iterator[tuple[int, list[str]]]:
    """(line, the constant parts of what it says) of each error that is made."""
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            words = [word for word in _words(node.args[0]) if word.strip(" :,")]
            if node.func.id in _ERRORS and words:
                yield node.lineno, words


def _words(node: ast.expr) -> list[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.JoinedStr):
        return [word for value in node.values for word in _words(value)]
    if isinstance(node, ast.BinOp):
        return [*_words(node.left), *_words(node.right)]
    return []  # a value, which may be anything
