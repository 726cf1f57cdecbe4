"""References are read and shown as Docker does."""

import pytest

from wherryd.errors import InvalidParameter
from wherryd.images.reference import from_query, parse


@pytest.mark.parametrize(
    ("text", "canonical", "familiar"),
    [
        ("mysql", "docker.io/library/mysql", "mysql"),
        ("mysql:demo", "docker.io/library/mysql:demo", "mysql:demo"),
        ("me/app", "docker.io/me/app", "me/app"),
        ("docker.io/mysql", "docker.io/library/mysql", "mysql"),
        ("index.docker.io/library/mysql:8", "docker.io/library/mysql:8", "mysql:8"),
        ("docker.io/library/a/b", "docker.io/library/a/b", "library/a/b"),
        ("localhost/app", "localhost/app", "localhost/app"),
        ("localhost:5000/app:1", "localhost:5000/app:1", "localhost:5000/app:1"),
        ("reg.example.com/a/b:T.1", "reg.example.com/a/b:T.1", "reg.example.com/a/b:T.1"),
        ("[::1]:5000/app", "[::1]:5000/app", "[::1]:5000/app"),
        ("app@sha256:" + "a" * 64, "docker.io/library/app@sha256:" + "a" * 64, "app@sha256:" + "a" * 64),
    ],
)
def test_reference_is_normalised(text: str, canonical: str, familiar: str) -> None:
    reference = parse(text)
    assert reference.canonical == canonical
    assert reference.familiar == familiar
    assert parse(canonical) == reference


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":tag",
        "a//b",
        "-a",
        "a:",
        "a:-x",
        "a@",
        "a@sha256:xyz",
        "a b",
        "../x",
        "a" * 300,
        "a/../b",
        "a:b/c",
    ],
)
def test_malformed_reference_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameter, match=r"invalid reference format|must not be more than"):
        parse(text)


def test_uppercase_repository_says_so() -> None:
    with pytest.raises(InvalidParameter, match=r"repository name \(library/MySQL\) must be lowercase"):
        parse("MySQL")


def test_name_of_64_hexadecimal_digits_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="cannot specify 64-byte hexadecimal strings"):
        parse("a" * 64)


def test_tag_parameter_wins_over_the_one_in_the_name() -> None:
    reference = from_query("app:one", "two")
    assert reference is not None
    assert reference.familiar == "app:two"


def test_latest_is_the_default_tag() -> None:
    reference = from_query("app", "")
    assert reference is not None
    assert reference.familiar == "app:latest"


def test_no_repository_is_no_reference() -> None:
    assert from_query("", "") is None


def test_tag_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="invalid tag format"):
        from_query("app", "a/b")
