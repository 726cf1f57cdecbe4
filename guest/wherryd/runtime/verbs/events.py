"""events: statistics at an interval, and a line each time the kernel kills for want of memory.

Source: runc's events command, whose shape containerd and others read.
"""

import argparse
import json
import re
import sys
import time
from typing import Any, Final

from wherryd.cgroups.stats import BlkioEntry, CgroupStats
from wherryd.errors import Conflict, InvalidParameter
from wherryd.runtime import status
from wherryd.runtime.state import StateDir
from wherryd.runtime.verbs.options import Verb, with_id

#: Between two looks at whether it still runs, and whether it was short of memory, in seconds.
_LOOK_S: Final = 0.1
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--interval", default="5s", help="between statistics, such as 500ms, 5s (%(default)s)"
    )
    parser.add_argument("--stats", action="store_true", help="print the statistics once, and end")
    with_id(parser)


def seconds(text: str) -> float:
    """500ms, 5s, 1m30s. Raises InvalidParameter."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text)
    if not parts or "".join(f"{number}{unit}" for number, unit in parts) != text:
        raise InvalidParameter(f"--interval: {text!r} is not a time such as 500ms or 5s")
    total = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if total <= 0:
        raise InvalidParameter("--interval: must be more than nothing")
    return total


def _events(given: argparse.Namespace) -> None:
    interval = seconds(given.interval)
    state = StateDir(given.root, given.id).read_state()
    if status.of(state) == "stopped":
        raise Conflict(f"container not running: {given.id} has stopped")
    cgroup = status.cgroup_of(state)
    if given.stats:
        _line("stats", given.id, document(cgroup.stats()))
        return
    killed, due = cgroup.oom_kills(), time.monotonic()
    while status.is_running(state):
        if cgroup.oom_kills() > killed:
            killed = cgroup.oom_kills()
            _line("oom", given.id)
        if time.monotonic() >= due:
            due += interval
            _line("stats", given.id, document(cgroup.stats()))
        time.sleep(min(_LOOK_S, interval))
    if cgroup.oom_kills() > killed:
        _line("oom", given.id)


def _line(kind: str, container_id: str, data: dict[str, Any] | None = None) -> None:
    line: dict[str, Any] = {"type": kind, "id": container_id}
    if data is not None:
        line["data"] = data
    sys.stdout.write(f"{json.dumps(line)}\n")
    sys.stdout.flush()


def document(stats: CgroupStats) -> dict[str, Any]:
    cpu, memory = stats.cpu, stats.memory
    usage: dict[str, Any] = {"total": cpu.total_ns, "kernel": cpu.system_ns, "user": cpu.user_ns}
    if cpu.percpu_ns:
        usage["percpu"] = list(cpu.percpu_ns)
    return {
        "cpu": {
            "usage": usage,
            "throttling": {
                "periods": cpu.periods,
                "throttledPeriods": cpu.throttled_periods,
                "throttledTime": cpu.throttled_ns,
            },
        },
        "memory": {
            "cache": memory.stats.get("cache", memory.stats.get("file", 0)),
            "usage": {
                "usage": memory.usage_bytes,
                "max": memory.max_usage_bytes,
                "limit": _limit(memory.limit_bytes),
                "failcnt": memory.failcnt,
            },
            "swap": {"usage": memory.swap_bytes, "limit": _limit(memory.swap_limit_bytes), "failcnt": 0},
            "raw": dict(memory.stats),
        },
        "pids": {"current": stats.pids.current, "limit": stats.pids.limit or 0},
        "blkio": {
            "ioServiceBytesRecursive": [_entry(each) for each in stats.blkio.service_bytes],
            "ioServicedRecursive": [_entry(each) for each in stats.blkio.serviced],
        },
        "hugetlb": {
            size: {"usage": each.usage_bytes, "max": each.max_usage_bytes, "failcnt": each.failcnt}
            for size, each in stats.hugetlb.items()
        },
    }


def _limit(value: int | None) -> int:
    return 2**64 - 1 if value is None else value


def _entry(each: BlkioEntry) -> dict[str, Any]:
    return {"major": each.major, "minor": each.minor, "op": each.op.capitalize(), "value": each.value}


VERBS = {"events": Verb("Print a container's statistics and events.", _arguments, _events)}
