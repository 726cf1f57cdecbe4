"""Checks of create requests that look at values: limits, modes, policies. Wording as dockerd's."""

import os
import re
from collections.abc import Mapping
from typing import Any

from wherryd.containers import confinement, logoptions, signals
from wherryd.errors import InvalidParameter
from wherryd.runtime import apparmor
from wherryd.spec import capabilities, dockerinit, securityoptions

RESTART_POLICIES = ("no", "always", "on-failure", "unless-stopped")
_MIN_MEMORY_BYTES = 6 * 1024 * 1024
_HOSTNAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,62}[A-Za-z0-9])?")


def normalise(config: dict[str, Any], host: dict[str, Any]) -> None:
    """Other spellings of the defaults become the defaults, in place."""
    host["NetworkMode"] = host["NetworkMode"] or "default"
    if config["NetworkDisabled"]:
        host["NetworkMode"] = "none"
    host["IpcMode"] = host["IpcMode"] or "private"
    host["CgroupnsMode"] = host["CgroupnsMode"] or ("host" if host["Privileged"] else "private")
    host["ShmSize"] = host["ShmSize"] or 64 * 1024 * 1024
    policy = host["RestartPolicy"]
    host["RestartPolicy"] = {
        "Name": policy.get("Name") or "no",
        "MaximumRetryCount": policy.get("MaximumRetryCount") or 0,
    }
    log = host["LogConfig"]
    host["LogConfig"] = {"Type": log.get("Type") or "json-file", "Config": dict(log.get("Config") or {})}
    if host["Memory"] > 0 and host["MemorySwap"] == 0:
        host["MemorySwap"] = host["Memory"] * 2
    # docker sends 0 when nothing was said, and -1 for no limit.
    host["PidsLimit"] = max(host["PidsLimit"] or 0, -1) or None
    if not host["Privileged"] and host["SecurityOpt"] and "systempaths=unconfined" in host["SecurityOpt"]:
        host["MaskedPaths"] = []
        host["ReadonlyPaths"] = []


def config_problems(config: Mapping[str, Any]) -> list[str]:
    found = []
    if config["Hostname"] and not _HOSTNAME.fullmatch(config["Hostname"]):
        found.append(f"invalid hostname format: {config['Hostname']}")
    if config["WorkingDir"] and not config["WorkingDir"].startswith("/"):
        found.append(
            f"the working directory '{config['WorkingDir']}' is invalid, it needs to be an absolute path"
        )
    found += [
        f"invalid environment variable: {entry}" for entry in config["Env"] or () if not entry.strip("=")
    ]
    if config["StopSignal"]:
        try:
            signals.number(config["StopSignal"])
        except InvalidParameter as exc:
            found.append(f"StopSignal: {exc}")
    if config["StopTimeout"] is not None and config["StopTimeout"] < -1:
        found.append("StopTimeout: wants seconds, or -1 to wait for ever")
    return found


def problems(host: Mapping[str, Any]) -> list[str]:
    return [
        *_memory_problems(host),
        *_cpu_problems(host),
        *_policy_problems(host),
        *logoptions.problems(host["LogConfig"]),
        *capabilities.problems(host["CapAdd"] or (), host["CapDrop"] or ()),
        *_ulimit_problems(host["Ulimits"]),
        *_mode_problems(host),
        *confinement.problems(host),
    ]


def _memory_problems(host: Mapping[str, Any]) -> list[str]:
    found = []
    memory, swap, reservation = host["Memory"], host["MemorySwap"], host["MemoryReservation"]
    if memory < 0 or reservation < 0:
        found.append("Memory: must not be negative")
    elif 0 < memory < _MIN_MEMORY_BYTES:
        found.append("Minimum memory limit allowed is 6MB")
    if swap > 0 and not memory:
        found.append("You should always set the Memory limit when using Memoryswap limit, see usage")
    elif 0 < swap < memory:
        found.append("Minimum memoryswap limit should be larger than memory limit, see usage")
    if reservation > 0 and 0 < memory < reservation:
        found.append("Minimum memory limit can not be less than memory reservation limit, see usage")
    if host["ShmSize"] < 0:
        found.append("SHM size can not be less than 0")
    if not -1000 <= host["OomScoreAdj"] <= 1000:
        found.append(f"Invalid value {host['OomScoreAdj']}, range for oom score adj is [-1000, 1000]")
    return found


def _cpu_problems(host: Mapping[str, Any]) -> list[str]:
    found = []
    nano, period, quota, count = host["NanoCpus"], host["CpuPeriod"], host["CpuQuota"], os.cpu_count() or 1
    if nano and (period or quota):
        found.append("Conflicting options: Nano CPUs and CPU Period/Quota cannot both be set")
    if nano < 0 or nano > count * 1_000_000_000:
        found.append(f"range of CPUs is from 0.01 to {count}.00, as there are only {count} CPUs available")
    if period and not 1000 <= period <= 1_000_000:
        found.append("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
    if 0 < quota < 1000:
        found.append("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    if host["CpuShares"] < 0:
        found.append("CpuShares: must not be negative")
    for key in ("CpusetCpus", "CpusetMems"):
        found += _cpuset_problems(key, host[key])
    return found


def _cpuset_problems(key: str, value: str) -> list[str]:
    """`0-3,5`. Ranges are checked by their ends and never expanded: CVE-2018-20699."""
    if not value:
        return []
    for part in value.split(","):
        match = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", part.strip())
        if match is None or int(match[2] or match[1]) < int(match[1]):
            return [f"{key}: invalid value {value} (hint: a list like 0-2,4)"]
        if int(match[2] or match[1]) >= 8192:
            return [f"{key}: {value} is beyond what a kernel can have"]
    return []


def _policy_problems(host: Mapping[str, Any]) -> list[str]:
    name, retries = host["RestartPolicy"]["Name"], host["RestartPolicy"]["MaximumRetryCount"]
    if name not in RESTART_POLICIES:
        return [
            f"invalid restart policy: unknown policy '{name}'; "
            "use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        ]
    if not isinstance(retries, int) or retries < 0:
        return ["invalid restart policy: maximum retry count cannot be negative"]
    if retries and name != "on-failure":
        return ["invalid restart policy: maximum retry count can only be used with 'on-failure'"]
    if host["AutoRemove"] and name != "no":
        return ["can't create 'AutoRemove' container with restart policy"]
    return []


def _ulimit_problems(ulimits: list[dict[str, Any]]) -> list[str]:
    found = []
    for limit in ulimits:
        name, soft, hard = limit.get("Name"), limit.get("Soft", 0), limit.get("Hard", 0)
        if name not in RLIMITS:
            found.append(f"invalid ulimit type: {name}")
        elif not isinstance(soft, int) or not isinstance(hard, int):
            found.append(f"ulimit {name}: Soft and Hard want whole numbers")
        elif hard != -1 and (soft == -1 or soft > hard):
            found.append(f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")
    return found


#: Names of Docker's ulimits; the kernel's are RLIMIT_ and the upper case.
RLIMITS = frozenset(
    [
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    ]
)


def _mode_problems(host: Mapping[str, Any]) -> list[str]:
    found = []
    if host["IpcMode"] not in ("private", "host", "none", "shareable") and not _joins(host["IpcMode"]):
        found.append(f"invalid IPC mode: {host['IpcMode']}")
    if host["PidMode"] not in ("", "host") and not _joins(host["PidMode"]):
        found.append(f"invalid PID mode: {host['PidMode']}")
    if host["UTSMode"] not in ("", "host"):
        found.append(f"invalid UTS mode: {host['UTSMode']}")
    if host["CgroupnsMode"] not in ("private", "host"):
        found.append(f"invalid cgroup namespace mode: {host['CgroupnsMode']}")
    if host["UsernsMode"] not in ("", "host"):
        found.append(f"invalid USER mode: {host['UsernsMode']}")
    if host["Isolation"] not in ("", "default"):
        found.append(f"invalid isolation: {host['Isolation']} is for Windows containers")
    mode = host["NetworkMode"]
    if (mode == "container" or mode.startswith("container:")) and not _joins(mode):
        found.append("invalid container format container:<name|id>")
    if _joins(mode) and (host["PortBindings"] or host["PublishAllPorts"]):
        found.append("conflicting options: port publishing and the container type network mode")
    return found


def _joins(mode: str) -> bool:
    kind, colon, name = mode.partition(":")
    return kind == "container" and bool(colon) and bool(name)


def refusals(host: Mapping[str, Any]) -> list[str]:
    """Values we understand and cannot carry out."""
    found = []
    if host["Init"] and not dockerinit.available(os.uname().machine):
        found.append(f"Init: there is no init program for {os.uname().machine}; run without --init")
    profile = securityoptions.apparmor_profile(host["SecurityOpt"])
    if profile and not apparmor.is_enabled():
        found.append(
            f"SecurityOpt: apparmor={profile}: AppArmor is not enabled in this kernel; boot with it, "
            "or leave the option out"
        )
    for option in host["SecurityOpt"] or ():
        key, _, value = option.replace(":", "=", 1).partition("=")
        accepted = (
            (key == "no-new-privileges" and value in ("", "true", "false"))
            or (key == "systempaths" and value == securityoptions.UNCONFINED)
            or key == "seccomp"
            or (key == "apparmor" and value != "")
            or (key == "label" and value == "disable")
        )
        if not accepted:
            found.append(
                f"SecurityOpt: {option} is not available (hint: no-new-privileges, seccomp=unconfined)"
            )
    return found


def warnings(config: Mapping[str, Any], host: Mapping[str, Any]) -> list[str]:
    found = logoptions.warnings(host["LogConfig"])
    published = host["PortBindings"] or host["PublishAllPorts"]
    if published and host["NetworkMode"] == "host":
        found.append("Published ports are discarded when using host network mode")
    if host["Dns"] and any(address.startswith("127.") for address in host["Dns"]):
        found.append("Localhost DNS (127.0.0.0/8) in --dns means the container itself")
    if config["Domainname"] and host["UTSMode"] == "host":
        found.append("Domainname is discarded with the host's UTS namespace")
    return found
