"""The list of the wire's details is complete: each claim has a test of its own, which is there."""

import ast
import tomllib
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
SECTIONS: dict[str, dict[str, str]] = tomllib.loads((TESTS / "wire_claims.toml").read_text())
CLAIMS = [
    (f"{section}: {claim}", test) for section, claims in SECTIONS.items() for claim, test in claims.items()
]


@cache
def names_in(file: str) -> frozenset[str]:
    """Names of the test functions that pytest finds in a file below tests/."""
    tree = ast.parse((TESTS / file).read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(
        each.name for each in tree.body if isinstance(each, kinds) and each.name.startswith("test_")
    )


@pytest.mark.parametrize(("claim", "test"), CLAIMS)
def test_the_test_of_a_claim_is_there(claim: str, test: str) -> None:
    file, _, name = test.partition("::")
    assert (TESTS / file).is_file(), claim
    assert name in names_in(file), claim


def test_no_test_stands_for_two_claims() -> None:
    named = [test for _, test in CLAIMS]
    assert sorted({test for test in named if named.count(test) > 1}) == []


def test_every_test_of_the_wire_stands_for_a_claim() -> None:
    files = sorted((TESTS / "guest").glob("test_wire_*.py"))
    assert len(files) >= 13
    written = {f"guest/{file.name}::{name}" for file in files for name in names_in(f"guest/{file.name}")}
    assert sorted(written - {test for _, test in CLAIMS}) == []


def test_every_part_of_the_wire_has_claims() -> None:
    """Negotiation and routing to archives and prune: what the Engine API's description does not say."""
    assert set(SECTIONS) == {
        "negotiation", "routing", "hijack", "exec", "resize", "wait", "events", "logs", "stats", "progress",
        "auth", "archive", "build", "prune", "registry",
    }  # fmt: skip
    assert all(len(claims) >= 4 for claims in SECTIONS.values())
