"""Namespaces made by a process that sleeps, on a machine that stalls."""

import os
from pathlib import Path

import pytest

from wherryd.sys import namespaces

pytestmark = pytest.mark.root


def test_a_sleeper_that_ended_too_early_is_followed_by_one_that_lives_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(namespaces, "_SLEEPS_US", (1, 5_000_000))
    seen = []

    def use(pid: int) -> str:
        seen.append(pid)
        if len(seen) == 1:
            # The stall: until the first one is over.
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        return str(Path(f"/proc/{pid}/ns/net").readlink())

    made = namespaces.with_sleeper(namespaces.CLONE_NEWNET, use)
    assert made != str(Path("/proc/self/ns/net").readlink())
    assert len(seen) == 2
    assert not any(Path(f"/proc/{pid}").exists() for pid in seen)


def test_a_failure_that_is_not_the_sleepers_is_told_at_once() -> None:
    seen = []

    def use(pid: int) -> None:
        seen.append(pid)
        raise FileNotFoundError(2, "something else")

    with pytest.raises(FileNotFoundError, match="something else"):
        namespaces.with_sleeper(namespaces.CLONE_NEWNET, use)
    assert len(seen) == 1
