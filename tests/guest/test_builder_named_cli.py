"""`wherry build --build-context`: folders of the client's, beside the main one."""

from pathlib import Path

import pytest
from native_engine import NativeEngine
from test_builder_outputs import wherry

pytestmark = pytest.mark.root


def test_a_folder_is_sent_as_a_named_context(engine: NativeEngine, tmp_path: Path) -> None:
    main, other = tmp_path / "main", tmp_path / "other"
    main.mkdir()
    other.mkdir()
    (main / "Dockerfile").write_text("FROM base\nCOPY --from=lib f /f\nCOPY own /own\n")
    (main / "own").write_text("mine")
    (other / "f").write_text("theirs")
    (other / "left-out").write_text("x")
    (other / ".dockerignore").write_text("left-out\n")
    done = wherry(engine, tmp_path,
        "-t", "named-cli", "--build-context", f"lib={other}",
        "--build-context", "base=docker-image://busybox:test", str(main),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    seen = engine.docker("run", "--rm", "--network=none", "named-cli", "cat", "/f", "/own")
    assert seen.stdout == b"theirsmine"
    (main / "Dockerfile").write_text("FROM base\nCOPY --from=lib left-out /f\n")
    refused = wherry(
        engine, tmp_path, "--build-context", f"lib={other}",
        "--build-context", "base=docker-image://busybox:test", str(main),
    )  # fmt: skip
    assert refused.returncode != 0


def test_what_is_no_context_is_refused(engine: NativeEngine, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    for text in ("lib=/nowhere/at/all", "lib", "=x"):
        done = wherry(engine, tmp_path, "--build-context", text, str(tmp_path))
        assert done.returncode != 0
        assert b"build-context" in done.stderr or b"is no folder" in done.stderr
