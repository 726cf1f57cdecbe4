"""Instructions that change the image's config and no file: config in, config out, and a line of history.

The history's words are the classic builder's, which other tools read. Source: Dockerfile reference; OCI
image-spec, config.md.
"""

import json
import posixpath
import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

from wherryd.builder.dockerfile import instructions as ins
from wherryd.builder.dockerfile.errors import DockerfileError
from wherryd.containers import signals
from wherryd.errors import InvalidParameter

Config = dict[str, Any]
Expand = Callable[[str], str]
Split = Callable[[str], list[str]]

DEFAULT_SHELL = ("/bin/sh", "-c")
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PORT = re.compile(r"(?:[^:/]*:)*(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?", re.IGNORECASE)


def environment(config: Mapping[str, Any]) -> dict[str, str]:
    return dict(entry.partition("=")[::2] for entry in config.get("Env") or ())


def start(config: Mapping[str, Any]) -> Config:
    """A base image's config as a build begins with it: with a PATH, and without the base's triggers."""
    found = deepcopy(dict(config))
    found.pop("OnBuild", None)
    found.pop("Image", None)
    if "PATH" not in environment(found):
        found["Env"] = [*(found.get("Env") or ()), f"PATH={DEFAULT_PATH}"]
    return found


def shell(config: Mapping[str, Any]) -> list[str]:
    return list(config.get("Shell") or DEFAULT_SHELL)


def command_line(command: ins.Command, config: Mapping[str, Any]) -> list[str]:
    """The words that are executed."""
    return [*shell(config), *command.words] if command.shell else list(command.words)


def no_operation(config: Mapping[str, Any], comment: str) -> str:
    """The history entry of a step that changed no file."""
    return " ".join([*shell(config), "#(nop) ", comment])


def no_command(config: Mapping[str, Any], comment: str) -> str:
    """The history entry of a step that made files and ran nothing: one blank less, as docker has it."""
    return " ".join([*shell(config), f"#(nop) {comment}"])


def workdir(config: Mapping[str, Any], path: str) -> str:
    """Absolute and clean; a relative one goes on from the last."""
    joined = posixpath.join("/", config.get("WorkingDir") or "/", path)
    return "/" + posixpath.normpath(joined).lstrip("/")


def apply(instruction: ins.Instruction, config: Config, expand: Expand, split: Split) -> str:
    """Changes config; the comment for the history. Raises DockerfileError."""
    if isinstance(instruction, ins.Env | ins.Label):
        return _pairs(instruction, config, expand)
    if isinstance(instruction, ins.Expose):
        return _expose(instruction, config, split)
    if isinstance(instruction, ins.Volume):
        return _volume(instruction, config, expand)
    if isinstance(instruction, ins.User):
        config["User"] = expand(instruction.user)
        return f"USER {config['User']}"
    if isinstance(instruction, ins.StopSignal):
        return _stop_signal(instruction, config, expand)
    if isinstance(instruction, ins.Shell):
        config["Shell"] = list(instruction.words)
        return f"SHELL [{' '.join(instruction.words)}]"
    if isinstance(instruction, ins.OnBuild):
        config.setdefault("OnBuild", []).append(instruction.trigger)
        return f"ONBUILD {instruction.trigger}"
    if isinstance(instruction, ins.Healthcheck):
        return _healthcheck(instruction, config)
    raise TypeError(f"{instruction.keyword} makes or runs files")


def _pairs(instruction: ins.Env | ins.Label, config: Config, expand: Expand) -> str:
    # All of one instruction see the values from before it.
    pairs = [(expand(pair.name), expand(pair.value)) for pair in instruction.pairs]
    for name, _ in pairs:
        if not name:
            raise DockerfileError(
                f"{instruction.keyword} names can not be blank", f"{instruction.keyword} NAME=value"
            )
    if isinstance(instruction, ins.Label):
        config["Labels"] = {**(config.get("Labels") or {}), **dict(pairs)}
    else:
        found = environment(config) | dict(pairs)
        config["Env"] = [f"{name}={value}" for name, value in found.items()]
    return " ".join([instruction.keyword, *(f"{name}={value}" for name, value in pairs)])


def _expose(instruction: ins.Expose, config: Config, split: Split) -> str:
    words = [word for port in instruction.ports for word in split(port)]
    ports = dict(config.get("ExposedPorts") or {})
    for word in words:
        match = _PORT.fullmatch(word)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if match is None or not 0 < first <= last <= 65535:
            raise DockerfileError(f"invalid containerPort: {word}", "EXPOSE 80, 53/udp or 8000-8010")
        for port in range(first, last + 1):
            ports[f"{port}/{(match[3] or 'tcp').lower()}"] = {}
    config["ExposedPorts"] = ports
    return " ".join(["EXPOSE", *words])


def _volume(instruction: ins.Volume, config: Config, expand: Expand) -> str:
    paths = [expand(path) for path in instruction.paths]
    if not all(paths):
        raise DockerfileError("VOLUME specified can not be an empty string", "VOLUME /path")
    config["Volumes"] = {**(config.get("Volumes") or {}), **{path: {} for path in paths}}
    return f"VOLUME [{' '.join(paths)}]"


def _stop_signal(instruction: ins.StopSignal, config: Config, expand: Expand) -> str:
    text = expand(instruction.signal)
    try:
        signals.number(text)
    except InvalidParameter as exc:
        raise DockerfileError(f"Invalid signal: {text}", "a name like SIGTERM, or a number") from exc
    config["StopSignal"] = text
    return f"STOPSIGNAL {text}"


def _healthcheck(instruction: ins.Healthcheck, config: Config) -> str:
    check: dict[str, Any] = {"Test": list(instruction.test), **instruction.times}
    if instruction.retries:
        check["Retries"] = instruction.retries
    config["Healthcheck"] = check
    return f"HEALTHCHECK {json.dumps(check)}"


def cmd(instruction: ins.Cmd, config: Config) -> str:
    config["Cmd"] = command_line(instruction.command, config)
    return f"CMD {quoted(config['Cmd'])}"


def entrypoint(instruction: ins.Entrypoint, config: Config, *, cmd_is_ours: bool) -> str:
    """A new ENTRYPOINT takes away a CMD that came with the base image."""
    config["Entrypoint"] = command_line(instruction.command, config)
    if not instruction.command.words:
        config["Entrypoint"] = None
    if not cmd_is_ours:
        config.pop("Cmd", None)
    return f"ENTRYPOINT {quoted(config['Entrypoint'] or [])}"


def quoted(words: list[str]) -> str:
    return "[" + " ".join(json.dumps(word, ensure_ascii=False) for word in words) + "]"
