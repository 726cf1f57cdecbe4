"""What state a VM is in, from the lock its QEMU holds and the files it left."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vboxqemu import files, state


@pytest.fixture
def held(tmp_path: Path) -> Iterator[None]:
    """A living QEMU, as far as anybody can tell."""
    descriptor = files.acquire(str(tmp_path / "running"), wait_s=1)
    yield
    files.release(descriptor)


def write(folder: Path, name: str, **document: Any) -> None:
    files.write_json(str(folder / name), document)


def test_vm_that_never_ran_is_powered_off(tmp_path: Path) -> None:
    assert state.of(str(tmp_path)) == "poweroff"


@pytest.mark.parametrize("phase", sorted(state.ONLINE))
@pytest.mark.usefixtures("held")
def test_living_vm_is_in_the_phase_it_was_brought_to(tmp_path: Path, phase: str) -> None:
    write(tmp_path, "run.json", phase=phase)
    with files.Lock(str(tmp_path / "lock")):
        assert state.of(str(tmp_path)) == phase


@pytest.mark.parametrize(
    ("phase", "expected"),
    [
        ("starting", "running"),
        ("stopping", "running"),
        ("saving", "paused"),
        ("restoring", "paused"),
        ("running", "running"),
    ],
)
@pytest.mark.usefixtures("held")
def test_command_that_was_killed_does_not_leave_the_vm_between_two_states(
    tmp_path: Path, phase: str, expected: str
) -> None:
    write(tmp_path, "run.json", phase=phase)
    (tmp_path / "lock").touch()
    assert state.of(str(tmp_path)) == expected


@pytest.mark.parametrize(
    ("phase", "end", "expected"),
    [
        ("running", {"clean": True}, "poweroff"),
        ("running", {"clean": False}, "aborted"),
        ("running", None, "aborted"),
        ("paused", None, "aborted"),
        ("stopping", {"clean": False}, "poweroff"),
        ("stopping", None, "poweroff"),
    ],
)
def test_dead_vm_is_known_by_how_it_ended(
    tmp_path: Path, phase: str, end: dict[str, bool] | None, expected: str
) -> None:
    write(tmp_path, "run.json", phase=phase)
    (tmp_path / "running").touch()
    if end is not None:
        write(tmp_path, "exit.json", **end)
    assert state.of(str(tmp_path)) == expected


def test_saved_state_outlives_the_process(tmp_path: Path) -> None:
    write(tmp_path, "run.json", phase="saving")
    write(tmp_path, "saved.json", machine="pc")
    assert state.of(str(tmp_path)) == "saved"


def test_every_state_has_words_for_people() -> None:
    assert state.WORDS.keys() == state.ONLINE | state.STARTABLE


def test_lock_is_free_again_after_release_and_times_out_before(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    with files.Lock(path):
        assert files.is_held(path)
        with pytest.raises(TimeoutError):
            files.acquire(path, wait_s=0.05)
    assert not files.is_held(path)
    assert not files.is_held(str(tmp_path / "none"))


def test_failed_write_leaves_the_old_document(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    files.write_json(str(path), {"a": 1})
    with pytest.raises(TypeError):
        files.write_json(str(path), {"a": object()})
    assert files.read_json(str(path)) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]
