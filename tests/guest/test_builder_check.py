"""--check, and warnings of an ordinary build."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from builder_rig import build, built
from native_engine import NativeEngine

pytestmark = pytest.mark.root

FILE = "FROM busybox:test\nCOPY a.o /\nENV A $FROM_IMAGE$NOBODY\n"


def wherry(engine: NativeEngine, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from wherry.cli.main import main; main()", "build", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "WHERRY_HOST": f"unix://{engine.socket}", "WHERRY_HOME": str(folder / "home")},
        timeout=60,
        check=False,
    )


def test_check_shows_the_lines_and_builds_nothing(engine: NativeEngine, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(FILE)
    (tmp_path / ".dockerignore").write_text("*.o\n")
    before = engine.call("GET", "/images/json", all="1").json
    result = wherry(engine, tmp_path, "--check", ".")
    assert result.returncode == 1, result.stderr
    assert "WARNING: CopyIgnoredFile - https://" in result.stdout
    assert "   3 | >>> ENV A $FROM_IMAGE$NOBODY\n" in result.stdout
    assert "undefined variable '$NOBODY'" in result.stdout
    assert "FROM_IMAGE'" not in result.stdout  # the base image has it
    assert "Check complete, 3 warnings have been found!" in result.stdout
    assert engine.call("GET", "/images/json", all="1").json == before


def test_check_takes_its_options_from_a_build_argument(engine: NativeEngine, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox:test\nCMD true\n")
    options = "BUILDKIT_DOCKERFILE_CHECK=skip=JSONArgsRecommended"
    assert wherry(engine, tmp_path, "--check", ".").returncode == 1
    assert wherry(engine, tmp_path, "--check", "--build-arg", options, ".").returncode == 0


def test_check_compares_the_platform(engine: NativeEngine, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox:test\n")
    result = wherry(engine, tmp_path, "--check", "--platform", "linux/s390x", ".")
    assert "WARNING: InvalidBaseImagePlatform\nBase image busybox:test was pulled" in result.stdout
    assert result.returncode == 1


def test_check_of_a_good_file_ends_well(engine: NativeEngine, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox:test\n")
    result = wherry(engine, tmp_path, "--check", ".")
    assert (result.returncode, result.stdout) == (0, "Check complete, no warnings found.\n")


def test_an_ordinary_build_warns_and_a_strict_one_ends(engine: NativeEngine) -> None:
    file = "FROM busybox:test\nCMD true\n"
    assert "[Warning] JSONArgsRecommended: " in built(engine, {"Dockerfile": file}).text
    refused = build(engine, {"Dockerfile": "# check=error=true\n" + file})
    assert refused.status == 400
    assert "lint violation found for rules: JSONArgsRecommended" in refused.text
