"""`.dockerignore` as docker reads it."""

import pytest

from wherrywire.dockerignore import BadPattern, Matcher, always_sent, read


def test_comments_blanks_and_slashes_are_cleaned_away() -> None:
    data = b"\xef\xbb\xbf# no\n  # yes\n/abs/\n\n a/./b/../c \n! /keep\n!\n..\n//x\n"
    assert read(data) == ["# yes", "abs", "a/c", "!keep", "!", "..", "x"]


@pytest.mark.parametrize(
    ("pattern", "path", "excluded"),
    [
        ("a", "a", True),
        ("a", "a/b/c", True),
        ("a", "b/a", False),
        ("*", "a/b", True),
        ("*.go", "x.go", True),
        ("*.go", "d/x.go", False),
        ("**/*.go", "d/e/x.go", True),
        ("**/*.go", "x.go", True),
        ("**", "x/y", True),
        ("a/**", "a/b", True),
        ("a/**", "a", False),
        ("a/**/b", "a/b", True),
        ("a/**/b", "a/x/y/b", True),
        ("**/node_modules", "p/q/node_modules/x", True),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("[a-c]x", "bx", True),
        ("[^a-c]x", "bx", False),
        ("[^a-c]x", "dx", True),
        ("a\\*", "a*", True),
        ("a\\*", "ab", False),
        ("file.(x)+", "file.(x)+", True),
        ("a.b", "axb", False),
        ("dir/", "dir/x", True),
        ("\u00e9*", "\u00e9t\u00e9", True),
    ],
)
def test_patterns_match_as_in_docker(pattern: str, path: str, excluded: bool) -> None:
    assert Matcher([pattern]).excludes(path) is excluded


@pytest.mark.parametrize(
    ("patterns", "path", "excluded"),
    [
        (["*.md", "!README.md"], "README.md", False),
        (["*.md", "!README*.md", "README-secret.md"], "README-secret.md", True),
        (["*.md", "README-secret.md", "!README*.md"], "README-secret.md", False),
        (["docs", "!docs/keep"], "docs/keep/x", False),
        (["docs", "!docs/keep"], "docs/other", True),
        (["*", "!src"], "src/a", False),
        (["*", "!src", "src/a"], "src/a", True),
        (["!x"], "x", False),
    ],
)
def test_the_last_match_wins(patterns: list[str], path: str, excluded: bool) -> None:
    assert Matcher(patterns).excludes(path) is excluded


@pytest.mark.parametrize("pattern", ["[", "[a", "[]", "a\\", "!", "[z-a]"])
def test_a_broken_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(BadPattern):
        Matcher([pattern])


def test_an_excluded_folder_is_entered_only_for_exceptions_below_it() -> None:
    matcher = Matcher(["*", "!src/keep"])
    assert matcher.may_hold_exceptions("src")
    assert not matcher.may_hold_exceptions("other")
    assert Matcher(["*", "!**/keep"]).may_hold_exceptions("other")


def test_what_the_builder_needs_is_sent_in_spite_of_the_patterns() -> None:
    assert always_sent(["*"], "Dockerfile", ".dockerignore") == ["*", "!Dockerfile", "!.dockerignore"]
    assert always_sent(["*.o"], "Dockerfile") == ["*.o"]
