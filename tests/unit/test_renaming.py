"""A finished file in the place of one that is read at that moment, by the rules of Windows."""

from pathlib import Path

import pytest

from wherry import renaming


class Held:
    """Path.replace of Windows while another process reads the target."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
        self.left, self.waited, real = times, 0.0, Path.replace

        def replace(path: Path, target: Path) -> Path:
            if self.left:
                self.left -= 1
                raise PermissionError(13, "in use")
            return real(path, target)

        def wait(seconds: float) -> None:
            self.waited += seconds

        monkeypatch.setattr(Path, "replace", replace)
        monkeypatch.setattr(renaming.time, "sleep", wait)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    fresh, target = tmp_path / "fresh", tmp_path / "target"
    fresh.write_text("new")
    target.write_text("old")
    return fresh, target


def test_a_reader_is_waited_for(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(monkeypatch, 3)
    renaming.replace(*files, windows=True)
    assert files[1].read_text() == "new"
    assert 0 < held.waited < 1


def test_a_file_that_stays_in_use_is_an_error_and_stays(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch, 1_000)
    with pytest.raises(PermissionError, match="in use"):
        renaming.replace(*files, windows=True)
    assert files[1].read_text() == "old"
    assert held.waited <= 2


def test_elsewhere_nothing_is_waited_for(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(monkeypatch, 1)
    with pytest.raises(PermissionError):
        renaming.replace(*files, windows=False)
    assert held.waited == 0
