"""`wherry build`: what the engine is asked for."""

import gzip
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_call import wherry
from cli_fake_engine import Answer, FakeEngine, fake_engine


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeEngine]:
    with fake_engine() as made:
        monkeypatch.setenv("WHERRY_HOST", made.url)
        monkeypatch.setenv("WHERRY_HOME", str(tmp_path / "home"))
        made.on("POST", "/build", Answer(200, {"stream": "sha256:1\n"}))
        yield made


def test_a_compressed_context_is_whole_and_one_gzip_stream(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM scratch\n")
    (folder / "unused").write_bytes(bytes(1 << 20))
    status, _, err = wherry(monkeypatch, capfd, "build", "--compress", str(folder))
    assert status == 0, err
    body = engine.asked("POST", "/build")[-1].body
    assert len(body) < 1 << 16
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(body))) as archive:
        assert sorted(archive.getnames()) == ["Dockerfile", "unused"]


def test_ulimits_are_those_of_every_step(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    given = ("build", "--compress", "--ulimit", "nofile=10:20", "--ulimit", "core=0", str(tmp_path))
    assert wherry(monkeypatch, capfd, *given)[0] == 0
    assert json.loads(engine.asked("POST", "/build")[-1].query["ulimits"][0]) == [
        {"Name": "nofile", "Soft": 10, "Hard": 20},
        {"Name": "core", "Soft": 0, "Hard": 0},
    ]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("-t", "A"), 'invalid argument "A" for "-t, --tag" flag: invalid reference format: repository name'),
        (("--ulimit", "nofile"), 'for "--ulimit" flag: invalid ulimit argument'),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_sent(
    given: tuple[str, ...],
    said: str,
    engine: FakeEngine,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    status, _, err = wherry(monkeypatch, capfd, "build", *given, str(tmp_path))
    assert status == 125
    assert said in err
    assert not engine.asked("POST", "/build")
