"""Health checks as values: defaults, limits, what a result makes of the health."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherryd.containers import health
from wherryd.containers.health import HealthCheck, Probe
from wherryd.errors import InvalidParameter

S = 1_000_000_000


def config(**check: Any) -> dict[str, Any]:
    return {"Healthcheck": check, "Shell": None}


def probe(code: int, at: int = 0) -> Probe:
    return Probe(start=at, end=at + 1, exit_code=code, output="")


CHECK = HealthCheck(command=("true",), interval=30, timeout=30, start_period=0, start_interval=5, retries=3)


def test_defaults_are_the_reference_daemons() -> None:
    found = health.check_of(config(Test=["CMD", "true", "x"]))
    assert found == HealthCheck(
        command=("true", "x"), interval=30, timeout=30, start_period=0, start_interval=5, retries=3
    )


def test_a_shell_command_takes_the_images_shell() -> None:
    found = health.check_of({"Healthcheck": {"Test": ["CMD-SHELL", "a b"]}, "Shell": ["/bin/ash", "-x"]})
    assert found is not None
    assert found.command == ("/bin/ash", "-x", "a b")


@pytest.mark.parametrize("test", [None, [], ["NONE"]])
def test_no_test_and_none_are_no_check(test: Any) -> None:
    assert health.check_of(config(Test=test)) is None


@pytest.mark.parametrize(
    ("check", "words"),
    [
        ({"Interval": 999_999}, "Interval in Healthcheck cannot be less than 1ms"),
        ({"StartInterval": 1}, "StartInterval in Healthcheck cannot be less than 1ms"),
        ({"Timeout": -S}, "Timeout in Healthcheck cannot be less than 1ms"),
        ({"Retries": -1}, "Retries in Healthcheck cannot be negative"),
        ({"Test": ["RUN", "x"]}, "unknown type 'RUN'"),
        ({"Test": ["CMD-SHELL"]}, "wants a command"),
        ({"Test": "x y"}, "unknown type"),
        ({"Interval": "1s"}, "wants a whole number"),
    ],
)
def test_a_bad_check_is_refused_by_field(check: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidParameter, match=words):
        health.parse(check, "Healthcheck")


def test_what_the_request_leaves_open_is_the_images() -> None:
    image = {"Test": ["CMD", "a"], "Interval": S, "Retries": 5}
    assert health.merge({"Retries": 2, "Test": []}, image) == {
        "Test": ["CMD", "a"],
        "Interval": S,
        "Retries": 2,
    }
    assert health.merge(None, image) == image
    assert health.merge(None, None) is None
    assert health.merge({"Test": ["NONE"]}, image)["Test"] == ["NONE"]  # type: ignore[index]


def test_it_is_unhealthy_after_as_many_failures_as_retries_and_healthy_after_one_success() -> None:
    now: dict[str, Any] = health.begun(None)
    seen = []
    for code in (1, 2, -1, 1, 0, 1):
        now = health.after(now, probe(code), CHECK, 0)
        seen.append((now["Status"], now["FailingStreak"]))
    assert seen == [
        ("starting", 1), ("starting", 2), ("unhealthy", 3), ("unhealthy", 4), ("healthy", 0), ("healthy", 1),
    ]  # fmt: skip


def test_failures_in_the_start_period_do_not_count_until_a_success() -> None:
    check = HealthCheck(command=("x",), interval=1, timeout=1, start_period=10, start_interval=0.5, retries=1)
    now = health.after(health.begun(None), probe(1, 5 * S), check, 0)
    assert (now["Status"], now["FailingStreak"]) == ("starting", 0)
    late = health.after(now, probe(1, 10 * S), check, 0)
    assert late["Status"] == "unhealthy"
    good = health.after(now, probe(0, 6 * S), check, 0)
    assert health.after(good, probe(1, 7 * S), check, 0)["Status"] == "unhealthy"


def test_the_start_interval_counts_while_it_starts() -> None:
    check = HealthCheck(
        command=("x",), interval=30, timeout=1, start_period=10, start_interval=0.5, retries=1
    )
    assert check.pause(3, "starting") == 0.5
    assert check.pause(3, "healthy") == 30
    assert check.pause(10, "starting") == 30


@given(st.lists(st.integers(-1, 3), max_size=30), st.integers(1, 5))
def test_the_last_five_results_are_kept_and_the_streak_is_that_of_the_failures(
    codes: list[int], retries: int
) -> None:
    check = HealthCheck(
        command=("x",), interval=1, timeout=1, start_period=0, start_interval=1, retries=retries
    )
    now: dict[str, Any] = health.begun(None)
    for code in codes:
        now = health.after(now, probe(code), check, 0)
    assert [entry["ExitCode"] for entry in now["Log"]] == codes[-5:]
    streak = next((at for at, code in enumerate(reversed(codes)) if code == 0), len(codes))
    assert now["FailingStreak"] == streak
    assert (now["Status"] == "unhealthy") == (streak >= retries)


def test_what_has_ended_is_not_healthy() -> None:
    assert health.ended(None) is None
    assert health.ended({**health.begun(None), "Status": "healthy"})["Status"] == "unhealthy"  # type: ignore[index]
