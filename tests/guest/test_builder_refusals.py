"""A build that cannot go on points at the line, shows it, and says what is wrong with it."""

import subprocess
from pathlib import Path

import pytest
from builder_rig import build, built, served
from dockerfile_errors import BASE, BUILDING, READING, Row, without_a_row
from native_engine import NativeEngine
from test_builder_outputs import wherry

import wherryd.builder
from wherryd.builder.dockerfile.errors import DockerfileError
from wherryd.builder.lint.check import check

pytestmark = pytest.mark.root


def message(engine: NativeEngine, files: dict[str, str] | str, **query: str) -> str:
    found = build(engine, {"Dockerfile": files} if isinstance(files, str) else files, **query)
    return str(found.error.get("message") or found.text)


@pytest.fixture(scope="module")
def said(module_engine: NativeEngine) -> dict[Row, str]:
    """Of each row, by an engine."""
    with served({"/f": b"downloaded"}) as web:
        return {
            row: message(module_engine, {**row.files, "Dockerfile": row.text.replace("{web}", web)})
            for row in BUILDING
        }


@pytest.mark.parametrize("row", BUILDING, ids=[f"{row.name}-{row.line}" for row in BUILDING])
def test_a_failing_build_points_at_its_line_and_shows_it(said: dict[Row, str], row: Row) -> None:
    text = said[row]
    assert row.problem in text
    shown = row.shown.partition("{web}")[0]
    assert shown in text, text
    # Where a Dockerfile is wrong, and not what it runs or copies, the hint says what would be right.
    assert " (hint: " in text or not text.startswith("dockerfile parse error")


def test_every_error_of_the_builder_has_a_row(said: dict[Row, str]) -> None:
    texts = list(said.values())
    for row in READING:
        with pytest.raises(DockerfileError) as caught:
            check(row.text.encode(), lambda _name: None)
        texts.append(str(caught.value))
    package = Path(str(wherryd.builder.__file__)).parent
    assert without_a_row(package, texts) == []


def test_an_instruction_of_many_lines_is_shown_as_it_is_written(engine: NativeEngine) -> None:
    text = f"FROM {BASE}\nRUN echo one && \\\n    exit 4\n"
    assert message(engine, text).endswith("\n     2 | RUN echo one && \\\n     3 |     exit 4")


def test_a_failing_trigger_points_at_the_from_that_brought_it(engine: NativeEngine) -> None:
    built(
        engine,
        {"Dockerfile": f"FROM {BASE}\nONBUILD COPY app /\nONBUILD LABEL a=${{X:?none}}\n"},
        t="triggers",
    )
    text = "# syntax=docker/dockerfile:1\nFROM triggers\n"
    found = build(engine, {"Dockerfile": text})
    assert "stat app: file does not exist" in found.error["message"]
    assert found.error["message"].endswith("\n     2 | FROM triggers")
    found = build(engine, {"Dockerfile": text, "app": ""})
    assert found.error["message"].startswith(
        "dockerfile parse error on line 2: in the trigger 'LABEL a=${X:?none}' of image triggers: "
    )


def test_the_stage_that_failed_is_shown_and_not_the_one_that_waited(engine: NativeEngine) -> None:
    text = (
        f"FROM {BASE} AS one\nRUN exit 6\nFROM {BASE} AS two\nRUN true\n"
        f"FROM {BASE}\nCOPY --from=two / /two\nCOPY --from=one / /one\n"
    )
    assert message(engine, text).endswith("code: 6\n     2 | RUN exit 6")


def test_a_target_that_is_not_there_is_told_with_those_that_are(engine: NativeEngine) -> None:
    text = message(engine, f"FROM {BASE} AS one\nFROM {BASE}\n", target="tow")
    assert 'target stage "tow" could not be found (hint: this file has one, 1)' in text


def test_a_secret_with_a_zero_byte_is_no_variable(engine: NativeEngine) -> None:
    token = engine.call("POST", "/build/offers", {"Secrets": {"a": "YQBi"}}).json["Token"]
    text = f"FROM {BASE}\nRUN --mount=type=secret,id=a,env=A true\n"
    assert "secret a: a variable cannot hold a zero byte (hint: mount it as a file)" in message(
        engine, text, offer=token
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("ARG A=${B\nFROM scratch\n", 1),
        ("FROM ${A\n", 1),
        ("FROM scratch\nCOPY --from=7 a /\n", 2),
        ("FROM scratch\nRUN --mount=from=1,target=/x true\n", 2),
        ("FROM scratch\n\nONBUILD COPY a\nCOPY a /\n", 3),
    ],
)
def test_who_asks_what_a_build_needs_is_told_the_line_too(engine: NativeEngine, text: str, line: int) -> None:
    """Our command asks before it builds."""
    answer = engine.call("POST", "/build/contexts/needs", text.encode())
    assert answer.status == 400
    assert answer.message.startswith(f"dockerfile parse error on line {line}: ")
    assert f"\n{line:6} | {text.splitlines()[line - 1]}" in answer.message


def test_both_commands_show_the_line_and_end_with_the_status(
    engine: NativeEngine, docker_cli: str, tmp_path: Path
) -> None:
    for text, status, shown in (
        (f"FROM {BASE}\nRUN echo \\\n  x; exit 23\n", 23, "     2 | RUN echo \\\n     3 |   x; exit 23\n"),
        (f"FROM {BASE}\nCOPY nope /\n", 1, "     2 | COPY nope /\n"),
        (f"FROM {BASE}\nCOYP a /\n", 1, "(hint: did you mean COPY?)\n     2 | COYP a /\n"),
    ):
        (tmp_path / "Dockerfile").write_text(text)
        ours = wherry(engine, tmp_path, ".")
        theirs = subprocess.run(
            ["docker", "build", "."],
            cwd=tmp_path,
            capture_output=True,
            env={**engine.docker_environment(), "DOCKER_BUILDKIT": "0"},
            timeout=60,
            check=False,
        )
        for done in (ours, theirs):
            assert done.returncode == status, done.stderr
            assert shown in done.stderr.decode()
