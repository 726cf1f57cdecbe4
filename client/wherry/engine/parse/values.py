"""Sizes, CPUs, durations, booleans, ulimits, restart policies, devices, extra hosts."""

import re
from typing import Any

from wherry.errors import BadValue, UsageProblem

_SIZE = re.compile(r"^(\d+(?:\.\d+)*) ?([kKmMgGtTpP])?[iI]?[bB]?$")
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_NANOSECONDS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_LABEL = "[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?$")
_ULIMITS = frozenset(
    {"core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss"}
    | {"rtprio", "rttime", "sigpending", "stack"}
)


def size(text: str, option: str) -> int:
    """`64m` -> bytes; powers of 1024, as Docker reads memory."""
    match = _SIZE.match(text)
    try:
        if match is None:
            raise ValueError
        return int(float(match[1]) * 1024 ** _POWERS[(match[2] or "").lower()])
    except ValueError:
        raise BadValue(option, text, f"invalid size: '{text}'; write a number with b, k, m or g") from None


def swap_size(text: str) -> int:
    """Like size; -1 is unlimited swap."""
    return -1 if text == "-1" else size(text, "--memory-swap")


def nano_cpus(text: str) -> int:
    """`1.5` -> 1500000000."""
    from decimal import Decimal, InvalidOperation

    try:
        nano = Decimal(text) * 10**9
        whole = int(nano)
    except (InvalidOperation, ValueError, OverflowError):
        reason = f"failed to parse {text} as a rational number; write --cpus=1.5"
        raise BadValue("--cpus", text, reason) from None
    if whole != nano:
        raise BadValue("--cpus", text, "value is too precise")
    return whole


def duration(text: str, option: str) -> int:
    """Go's `1m30s` -> nanoseconds."""
    if text == "0":
        return 0
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    parts = _DURATION.findall(digits)
    if not parts or "".join(number + unit for number, unit in parts) != digits:
        reason = f'time: invalid duration "{text}"; write 500ms, 30s, 1m30s or 1h'
        raise BadValue(option, text, reason)
    from decimal import Decimal

    return sign * sum(int(Decimal(number) * _NANOSECONDS[unit]) for number, unit in parts)


def boolean(text: str, option: str) -> bool:
    """Go's words for true and false."""
    if text in {"1", "t", "T", "true", "TRUE", "True"}:
        return True
    if text in {"0", "f", "F", "false", "FALSE", "False"}:
        return False
    reason = f'strconv.ParseBool: parsing "{text}": invalid syntax; write true or false'
    raise BadValue(option, text, reason)


def ulimit(text: str) -> dict[str, Any]:
    """`nofile=1024:2048` -> Name, Soft, Hard; one number is both."""
    name, found, limits = text.partition("=")
    if not found:
        raise BadValue("--ulimit", text, f"invalid ulimit argument: {text}; write name=soft[:hard]")
    if name.lower() not in _ULIMITS:
        raise BadValue("--ulimit", text, f"invalid ulimit type: {name}")
    soft_text, _, hard_text = limits.partition(":")
    try:
        soft = int(soft_text)
        hard = int(hard_text) if hard_text else soft
    except ValueError:
        reason = f"invalid ulimit argument: {text}; write name=soft[:hard]"
        raise BadValue("--ulimit", text, reason) from None
    if hard != -1 and (soft == -1 or soft > hard):
        reason = f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
        raise BadValue("--ulimit", text, reason)
    return {"Name": name.lower(), "Soft": soft, "Hard": hard}


def restart_policy(text: str) -> dict[str, Any]:
    """`on-failure:3` -> Name, MaximumRetryCount. Which names there are, the engine says."""
    name, colon, count = text.partition(":")
    if not colon:
        return {"Name": name, "MaximumRetryCount": 0}
    if not name:
        raise UsageProblem("invalid restart policy format: no policy provided before colon")
    if not count.isdecimal():
        raise UsageProblem("invalid restart policy format: maximum retry count must be an integer")
    return {"Name": name, "MaximumRetryCount": int(count)}


def _device_mode(text: str) -> bool:
    return bool(text) and set(text) <= set("rwm") and len(set(text)) == len(text)


def device(text: str) -> dict[str, str]:
    """`/dev/a[:/dev/b][:rwm]`."""
    parts = text.split(":")
    if len(parts) > 3 or not parts[0]:
        raise UsageProblem(f"bad format for path: {text}; write host-path[:path][:rwm]")
    source, target, mode = parts[0], parts[0], "rwm"
    if len(parts) == 2 and _device_mode(parts[1]):
        mode = parts[1]
    elif len(parts) >= 2:
        target = parts[1]
    if len(parts) == 3:
        mode = parts[2]
        if not _device_mode(mode):
            raise UsageProblem(f"bad mode specified: {mode}")
    if not target.startswith("/"):
        raise UsageProblem(f"{target} is not an absolute path")
    return {"PathOnHost": source, "PathInContainer": target, "CgroupPermissions": mode}


def extra_host(text: str) -> str:
    """`name:ip` or `name=ip` -> `name:ip`. `host-gateway` stands for the engine's own address."""
    separator = "=" if "=" in text else ":"
    name, _, address = text.partition(separator)
    if not name or not address:
        raise BadValue("--add-host", text, f'bad format for add-host: "{text}"; write name:ip')
    if address != "host-gateway":
        import ipaddress

        address = address.removeprefix("[").removesuffix("]")
        try:
            ipaddress.ip_address(address)
        except ValueError:
            reason = f'invalid IP address in add-host: "{address}"'
            raise BadValue("--add-host", text, reason) from None
    return f"{name}:{address}"


def dns_server(text: str) -> str:
    """An address, as docker's client wants it."""
    import ipaddress

    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        raise BadValue("--dns", text, f"IP address is not correctly formatted: {text}") from None


def search_domain(text: str) -> str:
    """`.` is none at all."""
    domain = text.strip(" ")
    if domain != "." and not (_DOMAIN.match(domain) and re.search("[a-zA-Z]", domain)):
        raise BadValue("--dns-search", text, f"{domain} is not a valid domain")
    return domain


def namespace_mode(text: str, option: str, *known: str) -> str:
    """One of the modes; what other modes need, the engine says. Raises UsageProblem in docker's words."""
    kind = {"--userns": "USER", "--cgroupns": "CGROUP"}.get(option, option.removeprefix("--").upper())
    if text and text not in known and not ("container:" in known and text.partition(":")[0] == "container"):
        raise UsageProblem(f"{option}: invalid {kind} mode")
    return text
