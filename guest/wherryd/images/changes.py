"""`import --change`: Dockerfile instructions that set an image's config.

Source: docker image import reference; Dockerfile reference for each instruction's forms. The
instructions that Docker accepts here, and its words for those it does not.
"""

import json
import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any

from wherryd import clock
from wherryd.errors import InvalidParameter
from wherryd.images import words

Config = dict[str, Any]

_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?", re.IGNORECASE)
_SIGNAL = re.compile(r"(SIG)?[A-Z0-9]+([+-]\d+)?|\d+")
_NOT_A_CHANGE = frozenset({"ADD", "ARG", "COPY", "FROM", "MAINTAINER", "RUN", "SHELL"})


def apply(changes: Sequence[str], start: Mapping[str, Any] | None = None) -> Config:
    """The config section that these instructions make of `start`, in order. Raises InvalidParameter."""
    config: Config = deepcopy(dict(start or {}))
    own_command = False
    for change in changes:
        for line in change.splitlines():
            if line.strip() and not line.lstrip().startswith("#"):
                keyword = _apply(config, line.strip())
                own_command = own_command or keyword == "CMD"
                if keyword == "ENTRYPOINT" and not own_command:
                    # The command was meant for what it started with. Dockerfile reference, "ENTRYPOINT".
                    config.pop("Cmd", None)
    return config


def _apply(config: Config, line: str) -> str:
    """Returns the keyword."""
    keyword, _, rest = line.partition(" ")
    keyword = keyword.upper()
    if keyword in _NOT_A_CHANGE:
        raise InvalidParameter(f"{keyword.lower()} is not a valid change command")
    instruction = _INSTRUCTIONS.get(keyword)
    if instruction is None:
        raise InvalidParameter(f"unknown instruction: {keyword}; use one of {', '.join(_INSTRUCTIONS)}")
    rest = rest.strip()
    if not rest:
        raise InvalidParameter(f"{keyword} requires at least one argument")
    instruction(config, rest)
    return keyword


def _environment(config: Config) -> dict[str, str]:
    return dict(entry.partition("=")[::2] for entry in config.get("Env") or ())


def _expand(config: Config, word: str) -> str:
    return words.expand(word, _environment(config))


def _json_words(text: str) -> list[str] | None:
    """The JSON form, or None: a broken array is a shell command, as in Docker."""
    if not text.startswith("["):
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, list) and all(isinstance(item, str) for item in value) else None


def _command(text: str) -> list[str]:
    found = _json_words(text)
    return ["/bin/sh", "-c", text] if found is None else found


def _cmd(config: Config, text: str) -> None:
    config["Cmd"] = _command(text)


def _entrypoint(config: Config, text: str) -> None:
    config["Entrypoint"] = _command(text)


def _pairs(config: Config, keyword: str, text: str) -> list[tuple[str, str]]:
    """`K=V K2=V2`, or the old form `K the rest of the line`."""
    items = words.split(text)
    if "=" not in items[0]:
        key, _, value = text.partition(items[0])[2].partition(" ")
        value = (key + value).strip() if key.strip() else value.strip()
        if not value:
            raise InvalidParameter(f"{keyword} must have two arguments")
        return [(_expand(config, items[0]), _expand(config, value))]
    pairs = []
    for item in items:
        key, equals, value = item.partition("=")
        if not equals:
            raise InvalidParameter(
                f"Syntax error - can't find = in {item!r}. Must be of the form: name=value"
            )
        if not _expand(config, key):
            raise InvalidParameter(f"{keyword} names can not be blank")
        pairs.append((_expand(config, key), _expand(config, value)))
    return pairs


def _env(config: Config, text: str) -> None:
    # All of one line see the values from before it: Dockerfile reference, "ENV".
    pairs = _pairs(config, "ENV", text)
    environment = _environment(config) | dict(pairs)
    config["Env"] = [f"{key}={value}" for key, value in environment.items()]


def _label(config: Config, text: str) -> None:
    config["Labels"] = {**(config.get("Labels") or {}), **dict(_pairs(config, "LABEL", text))}


def _expose(config: Config, text: str) -> None:
    ports = config["ExposedPorts"] = config.get("ExposedPorts") or {}
    for word in words.split(text):
        value = _expand(config, word)
        match = _PORT.fullmatch(value)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not match or not 0 < first <= last <= 65535:
            raise InvalidParameter(f"invalid containerPort: {value}")
        for port in range(first, last + 1):
            ports[f"{port}/{(match[3] or 'tcp').lower()}"] = {}


def _user(config: Config, text: str) -> None:
    config["User"] = _expand(config, text)


def _workdir(config: Config, text: str) -> None:
    # normpath keeps two leading slashes, which POSIX allows to mean something else.
    joined = posixpath.join("/", config.get("WorkingDir") or "", _expand(config, text))
    config["WorkingDir"] = "/" + posixpath.normpath(joined).lstrip("/")


def _volume(config: Config, text: str) -> None:
    volumes = config["Volumes"] = config.get("Volumes") or {}
    for item in _json_words(text) or words.split(text):
        path = _expand(config, item).strip()
        if not path:
            raise InvalidParameter("VOLUME specified can not be an empty string")
        volumes[path] = {}


def _stop_signal(config: Config, text: str) -> None:
    value = _expand(config, text)
    if not _SIGNAL.fullmatch(value.upper()):
        raise InvalidParameter(f"invalid signal: {value}")
    config["StopSignal"] = value


def _onbuild(config: Config, text: str) -> None:
    keyword = text.split()[0].upper()
    if keyword == "ONBUILD":
        raise InvalidParameter("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if keyword in ("FROM", "MAINTAINER"):
        raise InvalidParameter(f"{keyword} isn't allowed as an ONBUILD trigger")
    config["OnBuild"] = [*(config.get("OnBuild") or ()), text]


_HEALTH_OPTIONS = {
    "interval": "Interval",
    "timeout": "Timeout",
    "start-period": "StartPeriod",
    "start-interval": "StartInterval",
}


def _healthcheck(config: Config, text: str) -> None:
    check: dict[str, Any] = {}
    while text.startswith("--"):
        option, _, text = text.partition(" ")
        text = text.lstrip()
        name, _, value = option[2:].partition("=")
        if name == "retries":
            if not value.isdecimal():
                raise InvalidParameter(f"HEALTHCHECK --retries: {value!r} is not a number")
            check["Retries"] = int(value)
        elif name in _HEALTH_OPTIONS:
            check[_HEALTH_OPTIONS[name]] = clock.parse_duration(value)
        else:
            raise InvalidParameter(f"unknown flag: --{name}")
    kind, _, command = text.partition(" ")
    if kind.upper() == "NONE":
        check = {"Test": ["NONE"]}
    elif kind.upper() == "CMD" and command.strip():
        listed = _json_words(command.strip())
        check["Test"] = ["CMD-SHELL", command.strip()] if listed is None else ["CMD", *listed]
    else:
        raise InvalidParameter(
            f'unknown type {kind!r} in HEALTHCHECK (try CMD); write "CMD command" or "NONE"'
        )
    config["Healthcheck"] = check


_INSTRUCTIONS: dict[str, Callable[[Config, str], None]] = {
    "CMD": _cmd,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "ONBUILD": _onbuild,
    "STOPSIGNAL": _stop_signal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
