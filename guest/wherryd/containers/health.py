"""Health checks as values: what a Healthcheck asks for, and what a probe's result makes of the health.

Pure; `prober.py` runs the probes. Source: Engine API 1.51, HealthConfig and Health; Dockerfile reference,
HEALTHCHECK; the reference daemon's defaults and limits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from wherryd import clock
from wherryd.containers import kinds
from wherryd.errors import InvalidParameter

#: Results that are kept, and bytes of output of each.
LOG_ENTRIES: Final = 5
MAX_OUTPUT_BYTES: Final = 4096

_DEFAULT_INTERVAL_S: Final = 30.0
_DEFAULT_TIMEOUT_S: Final = 30.0
_DEFAULT_START_INTERVAL_S: Final = 5.0
_DEFAULT_RETRIES: Final = 3
_NS: Final = 1_000_000_000
_MIN_NS: Final = 1_000_000

_DURATIONS: Final = ("Interval", "Timeout", "StartPeriod", "StartInterval")


class HealthStatus(StrEnum):
    NONE = "none"
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """A check that is to be run. Times in seconds. command: as exec takes it."""

    command: tuple[str, ...]
    interval: float
    timeout: float
    start_period: float
    start_interval: float
    retries: int

    def pause(self, lived: float, status: str) -> float:
        """Seconds until the next probe of a container that runs for `lived` seconds."""
        starting = lived < self.start_period and status == HealthStatus.STARTING
        return self.start_interval if starting else self.interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One result. start, end: nanoseconds since 1970. exit_code: -1 when it did not end by itself."""

    start: int
    end: int
    exit_code: int
    output: str

    def document(self) -> dict[str, Any]:
        return {
            "Start": clock.from_nanoseconds(self.start),
            "End": clock.from_nanoseconds(self.end),
            "ExitCode": self.exit_code,
            "Output": self.output,
        }


def parse(value: Any, field: str) -> dict[str, Any]:
    """A HealthConfig as it is kept. Raises InvalidParameter with the reference daemon's words."""
    given = kinds.mapping(value, field)
    found: dict[str, Any] = {}
    if given.get("Test") is not None:
        found["Test"] = kinds.command(given["Test"], f"{field}.Test")
    for key in _DURATIONS:
        nanoseconds = kinds.integer(given.get(key) or 0, f"{field}.{key}")
        if nanoseconds and nanoseconds < _MIN_NS:
            raise InvalidParameter(f"{key} in Healthcheck cannot be less than 1ms")
        if nanoseconds:
            found[key] = nanoseconds
    retries = kinds.integer(given.get("Retries") or 0, f"{field}.Retries")
    if retries < 0:
        raise InvalidParameter("Retries in Healthcheck cannot be negative")
    if retries:
        found["Retries"] = retries
    _check_test(found.get("Test") or ())
    return found


def _check_test(test: Sequence[str]) -> None:
    if not test or test[0] == "NONE":
        return
    if test[0] not in ("CMD", "CMD-SHELL"):
        raise InvalidParameter(
            f"Healthcheck: unknown type '{test[0]}' (hint: the first word of Test is CMD, CMD-SHELL or NONE)"
        )
    if len(test) < 2 or not test[1]:
        raise InvalidParameter(f"Healthcheck: {test[0]} wants a command after it")


def merge(given: Mapping[str, Any] | None, image: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What the request leaves open is the image's, field by field."""
    if not given:
        return dict(image) if image else None
    return {**(image or {}), **{key: value for key, value in given.items() if value}}


def check_of(config: Mapping[str, Any]) -> HealthCheck | None:
    """The check in a container's Config; None when it has none, or "NONE"."""
    wanted = config.get("Healthcheck") or {}
    test = wanted.get("Test") or []
    if len(test) < 2 or test[0] not in ("CMD", "CMD-SHELL"):
        return None
    shell = config.get("Shell") or ["/bin/sh", "-c"]
    return HealthCheck(
        command=tuple(test[1:]) if test[0] == "CMD" else (*shell, test[1]),
        interval=_seconds(wanted, "Interval", _DEFAULT_INTERVAL_S),
        timeout=_seconds(wanted, "Timeout", _DEFAULT_TIMEOUT_S),
        start_period=_seconds(wanted, "StartPeriod", 0.0),
        start_interval=_seconds(wanted, "StartInterval", _DEFAULT_START_INTERVAL_S),
        retries=wanted.get("Retries") or _DEFAULT_RETRIES,
    )


def _seconds(wanted: Mapping[str, Any], key: str, default: float) -> float:
    nanoseconds: int = wanted.get(key) or 0
    return nanoseconds / _NS if nanoseconds else default


def begun(before: Mapping[str, Any] | None) -> dict[str, Any]:
    """The health of a container that has just been started; results of its life before are kept."""
    return {
        "Status": str(HealthStatus.STARTING),
        "FailingStreak": 0,
        "Log": list(before["Log"]) if before else [],
    }


def ended(before: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Of a container that does not run any more: never healthy."""
    return None if before is None else {**before, "Status": str(HealthStatus.UNHEALTHY)}


def after(before: Mapping[str, Any], probe: Probe, check: HealthCheck, started_at: int) -> dict[str, Any]:
    """The health after one more result. started_at: of the container, in nanoseconds since 1970.

    A failure during the start period counts only once a probe has succeeded.
    """
    status, streak = str(before["Status"]), int(before["FailingStreak"])
    if probe.exit_code == 0:
        status, streak = HealthStatus.HEALTHY, 0
    elif status != HealthStatus.STARTING or probe.start - started_at >= check.start_period * _NS:
        streak += 1
        if streak >= check.retries:
            status = HealthStatus.UNHEALTHY
    log = [*before["Log"], probe.document()][-LOG_ENTRIES:]
    return {"Status": str(status), "FailingStreak": streak, "Log": log}
