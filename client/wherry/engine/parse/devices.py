"""`--blkio-weight-device`, `--device-read-bps` and its relatives, and `--gpus`."""

from typing import Any

from wherry.engine.parse.values import size
from wherry.errors import BadValue, UsageProblem

_ALL = -1


def weight(text: str) -> dict[str, Any]:
    """`/dev/sda:500` -> Path, Weight."""
    path, value = _split(text, "--blkio-weight-device", "weight")
    number = int(value) if value.isdecimal() else -1
    if number != 0 and not 10 <= number <= 1000:
        raise BadValue(
            "--blkio-weight-device",
            text,
            f"invalid weight for device: {text}; write a number from 10 to 1000",
        )
    return {"Path": path, "Weight": number}


def bytes_rate(text: str, option: str) -> dict[str, Any]:
    """`/dev/sda:1mb` -> Path, Rate in bytes per second."""
    path, value = _split(text, option, "rate")
    try:
        return {"Path": path, "Rate": size(value, option)}
    except BadValue:
        form = "<device-path>:<number>[<unit>]. Number must be a positive integer"
        reason = f"invalid rate for device: {text}. The correct format is {form}"
        raise BadValue(
            option, text, f"{reason}. Unit is optional and can be kb, mb, or gb; write /dev/sda:1mb"
        ) from None


def io_rate(text: str, option: str) -> dict[str, Any]:
    """`/dev/sda:1000` -> Path, Rate in operations per second."""
    path, value = _split(text, option, "rate")
    if not value.isdecimal():
        form = "<device-path>:<number>. Number must be a positive integer"
        reason = f"invalid rate for device: {text}. The correct format is {form}; write /dev/sda:1000"
        raise BadValue(option, text, reason)
    return {"Path": path, "Rate": int(value)}


def _split(text: str, option: str, what: str) -> tuple[str, str]:
    path, colon, value = text.partition(":")
    if not colon or not value:
        raise BadValue(option, text, f"bad format: {text}; write /dev/sda:{what}")
    if not path.startswith("/dev/"):
        raise BadValue(option, text, f"bad format for device path: {text}; it begins with /dev/")
    return path, value


def gpus(text: str) -> dict[str, Any]:
    """`all`, `2` or `device=0,driver=x,capabilities=compute` -> a DeviceRequest of the Engine API."""
    import csv

    made: dict[str, Any] = {
        "Driver": "", "Count": 0, "DeviceIDs": [], "Capabilities": [["gpu"]], "Options": {},
    }  # fmt: skip
    given = set()
    for part in next(csv.reader([text]), []):
        key, equals, value = part.partition("=")
        if not equals:
            key, value = "count", key
        if key in given:
            raise UsageProblem(f"gpu request key '{key}' can be specified only once")
        given.add(key)
        match key:
            case "count" if value == "all" or value.lstrip("-").isdecimal():
                made["Count"] = _ALL if value == "all" else int(value)
            case "driver":
                made["Driver"] = value
            case "device":
                made["DeviceIDs"] = value.split(",")
            case "capabilities":
                made["Capabilities"] = [["gpu", *value.split(",")]]
            case "options":
                made["Options"] = dict(pair.partition("=")[::2] for pair in value.split(","))
            case _:
                if not equals:
                    reason = (
                        f'invalid count ({value}): value must be either "all" or an integer: invalid syntax'
                    )
                    raise BadValue(
                        "--gpus", text, f"{reason}; write all, a number, or device=0,driver=nvidia"
                    )
                raise UsageProblem(f"invalid --gpus {text}; write all, a number, or device=0,driver=nvidia")
    if not given & {"count", "device"}:
        made["Count"] = 1
    return made
