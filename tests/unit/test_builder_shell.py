"""Variables and words against BuildKit's own tables."""

import os
import time
from pathlib import Path

import pytest

from wherryd.builder.dockerfile.errors import DockerfileError
from wherryd.builder.dockerfile.shell import MAX_CHARACTERS, Lexer

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("WHERRY_SHARED", ROOT.parent / "shared"))
TABLES = SHARED / "data" / "dockerfile" / "shell"
VARIABLES = {"PWD": "/home", "SHELL": "bash", "KOREAN": "한국어", "NULL": ""}


def expansions() -> list[tuple[str, str]]:
    rows = []
    for line in (TABLES / "envVarTest").read_text().splitlines() if TABLES.is_dir() else ():
        if line.strip() and not line.startswith("#"):
            platform, source, expected = (part.strip() for part in line.split("|"))
            if platform in ("A", "U"):
                rows.append((source, expected))
    return rows


def splits() -> list[tuple[dict[str, str], str, list[str]]]:
    """(variables up to here, input, words); words are ["error"] for what must be refused."""
    rows = []
    variables: dict[str, str] = {}
    for line in (TABLES / "wordsTest").read_text().split("\n") if TABLES.is_dir() else ():
        if line.startswith("ENV "):
            name, _, value = line[4:].lstrip(" ").partition("=")
            variables = {**variables, name: value}
        elif line and not line.startswith("#"):
            source, expected = line.split("|")
            rows.append((variables, source.strip(), expected.lstrip(" ").split(",")))
    return rows


@pytest.mark.skipif(not TABLES.is_dir(), reason=f"no tables at {TABLES}; set WHERRY_SHARED")
def test_the_tables_are_all_there() -> None:
    """Of the 230 rows two are of Windows alone."""
    assert (len(expansions()), len(splits())) == (228, 24)


@pytest.mark.parametrize(("source", "expected"), expansions())
def test_expansion_as_in_buildkits_table(source: str, expected: str) -> None:
    if expected == "error":
        with pytest.raises(DockerfileError):
            Lexer().expand(source, VARIABLES)
    else:
        assert Lexer().expand(source, VARIABLES) == expected


@pytest.mark.parametrize(("variables", "source", "expected"), splits())
def test_words_as_in_buildkits_table(variables: dict[str, str], source: str, expected: list[str]) -> None:
    if expected == ["error"]:
        with pytest.raises(DockerfileError):
            Lexer().split(source, variables)
    else:
        assert Lexer().split(source, variables) == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("${X#*/}", "b/c.tar.gz"),
        ("${X##*/}", "c.tar.gz"),
        ("${X%.*}", "a/b/c.tar"),
        ("${X%%.*}", "a/b/c"),
        ("${X/./-}", "a/b/c-tar.gz"),
        ("${X//./-}", "a/b/c-tar-gz"),
        ("${X/b*./Z}", "a/Zgz"),
        ("${X/\\//:}", "a:b/c.tar.gz"),
        ("${X#?}", "/b/c.tar.gz"),
        ("${MISSING/a/b}", ""),
    ],
)
def test_patterns_cut_and_replace_as_a_shell_does(word: str, expected: str) -> None:
    assert Lexer().expand(word, {"X": "a/b/c.tar.gz"}) == expected


def test_a_hostile_pattern_ends_soon() -> None:
    started = time.monotonic()
    Lexer().expand("${X##" + "*a" * 200 + "*b}", {"X": "a" * 20_000})
    assert time.monotonic() - started < 2


def test_values_do_not_double_without_end() -> None:
    with pytest.raises(DockerfileError, match="more than"):
        Lexer().expand("$X$X", {"X": "a" * MAX_CHARACTERS})


def test_a_required_variable_says_its_message_and_how_to_give_it() -> None:
    with pytest.raises(DockerfileError, match=r"VERSION: give one .*--build-arg VERSION="):
        Lexer().expand("${VERSION:?give one}", {})


def test_the_names_that_were_looked_up_are_told() -> None:
    used: set[str] = set()
    Lexer().expand("$A ${B:-$C} '$D'", {"A": "1"}, used)
    assert used == {"A", "B", "C"}
