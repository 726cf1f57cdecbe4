"""`alias docker=wherry`: docker's tree of commands, walked; usage, aliases, complaints beside ours.

No engine is needed: what is compared is said before one is asked. Flags: tests/unit/test_cli_flags.py.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from wherry.cli.main import ABSENT, LazyGroup, main, wherry

pytestmark = pytest.mark.usefixtures("docker_cli")

_UNIT = Path(__file__).parent.parent / "unit"
VERBS: list[str] = [
    words
    for words in json.loads((_UNIT / "docker_flags.json").read_text(encoding="utf-8"))
    if words and words.split()[0] not in ABSENT and words not in ABSENT
]
NOWHERE = "unix:///nonexistent/d.sock"
#: Command lines that go wrong for every verb; a verb that takes them asks the engine: passed over.
WRONG = ([], ["a"] * 9, ["--nope"], ["-Z"], ["a", "--nope"])
#: Said otherwise by docker, with the same status: cobra's own words, a second usage line, a count that is
#: `at least` where it means `at most`, contexts, whose missing files docker names, and references, which the
#: engine checks for us.
OTHER_WORDS = frozenset(
    {"commit", "context inspect", "context ls", "context rm", "context use", "cp", "import", "logout", "tag"}
)
_CLUTTER = (
    (re.compile(r"DEPRECATED:(?:.*\n)+?\n"), ""),
    (re.compile(r" \(did you mean [^)]*\)"), ""),
    (re.compile(r"; [^\n]*$", re.MULTILINE), ""),
    (re.compile(r"^(?:See|S?Run) '", re.MULTILINE), "Run '"),
    (re.compile(r"^(Usage: .*?) \[OPTIONS\]", re.MULTILINE), r"\1"),
)


def comparable(text: str) -> str:
    for pattern, instead in _CLUTTER:
        text = pattern.sub(instead, text)
    return text.replace("docker", "wherry").strip()


def docker(*words: str) -> tuple[int, str, str]:
    environ = {**os.environ, "DOCKER_CONFIG": "/nonexistent", "DOCKER_BUILDKIT": "0", "DOCKER_HOST": NOWHERE}
    done = subprocess.run(
        ["docker", *words],
        capture_output=True,
        env=environ,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


class Ours:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        monkeypatch.setenv("WHERRY_HOST", NOWHERE)
        monkeypatch.setenv("DOCKER_CONFIG", "/nonexistent")
        self._patch, self._capfd = monkeypatch, capfd

    def __call__(self, *words: str) -> tuple[int, str, str]:
        self._patch.setattr(sys, "argv", ["wherry", *words])
        with Path(os.devnull).open() as nothing, pytest.raises(SystemExit) as ended:
            self._patch.setattr(sys, "stdin", nothing)
            main()
        out, err = self._capfd.readouterr()
        return int(str(ended.value.code or 0)), out, err


@pytest.fixture
def ours(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Ours:
    return Ours(monkeypatch, capfd)


def once_each() -> list[str]:
    """Verbs that are there under two names (`run`, `container run`) count once, under the shorter."""
    found: dict[int, str] = {}
    for words in sorted(VERBS, key=lambda words: (len(words.split()), words)):
        command: click.Command | None = wherry
        for word in words.split():
            assert isinstance(command, click.Group), words
            command = command.get_command(click.Context(command), word)
        assert command is not None, words
        if not isinstance(command, LazyGroup):
            found.setdefault(id(command), words)
    return list(found.values())


def test_usage_and_aliases_of_the_whole_tree_are_dockers(ours: Ours) -> None:
    different = []
    for words in VERBS:
        theirs, mine = docker(*words.split(), "--help")[1], ours(*words.split(), "--help")[1]
        for pattern in (r"^(Usage: .*)", r"^Aliases:\n(.*)"):
            shown, wanted = (re.search(pattern, text, re.MULTILINE) for text in (mine, comparable(theirs)))
            parts = [
                set(re.split(r", |\s+", comparable(found[1])) if found else ()) for found in (shown, wanted)
            ]
            if parts[1] - parts[0] and words not in {"cp", "container cp", "context inspect"}:
                different.append((words, wanted and wanted[1], shown and shown[1]))
    assert not different, "\n".join(map(str, different))


def test_wrong_command_lines_of_every_verb_are_refused_in_dockers_words(ours: Ours) -> None:
    different, compared = [], 0
    for words in once_each():
        for wrong in WRONG:
            theirs = docker(*words.split(), *wrong)
            if "nonexistent/d.sock" in theirs[2]:
                continue  # not wrong for this one
            compared += 1
            mine = ours(*words.split(), *wrong)
            same = theirs[0] == mine[0]
            if words not in OTHER_WORDS:
                same = same and [*map(comparable, theirs[1:])] == [*map(comparable, mine[1:])]
            if not same:
                different.append((words, wrong, theirs, mine))
    assert not different, "\n".join(map(str, different))
    assert compared > 200


#: Of groups, of the root, and options without their value. `Usage:  docker container` is cobra's slip.
GRAMMAR = """
container foo
container --nope
container -z
foo
--nope
-x
-H
run --name
run -e
run -itv
ps -an
ps --last
help nope
volume help
image rm
container rm
container ls --format
builder foo
network foo
system foo
"""


@pytest.mark.parametrize("line", GRAMMAR.strip().splitlines())
def test_groups_and_missing_values_are_complained_of_in_dockers_words(ours: Ours, line: str) -> None:
    theirs, mine = docker(*line.split()), ours(*line.split())
    assert (mine[0], mine[1]) == (theirs[0], theirs[1])
    assert comparable(mine[2]).replace(" COMMAND", "") == comparable(theirs[2]).replace(" COMMAND", "")


@pytest.mark.parametrize("words", ["", "container", "network", "-D"])
def test_help_nobody_asked_for_goes_to_stderr_and_is_no_failure(ours: Ours, words: str) -> None:
    theirs, mine = docker(*words.split()), ours(*words.split())
    assert (theirs[0], theirs[1]) == (mine[0], mine[1]) == (0, "")
    assert mine[2].startswith("Usage:  wherry ")
    asked = ours("help", *words.replace("-D", "").split())
    assert asked == (0, mine[2], "")


def test_help_of_a_verb_is_help(ours: Ours) -> None:
    assert ours("help", "container", "ls") == ours("container", "ls", "--help")
