"""From nodes to instructions: which flags and words each keyword takes.

Messages are BuildKit's; the hint says what would have been right.
"""

import difflib
import re
from collections.abc import Callable
from typing import Any

from wherryd import clock
from wherryd.builder.dockerfile import heredocs, mounts
from wherryd.builder.dockerfile import instructions as ins
from wherryd.builder.dockerfile.errors import DockerfileError
from wherryd.builder.dockerfile.flags import Flags
from wherryd.builder.dockerfile.parser import Node
from wherryd.errors import InvalidParameter

_STAGE_NAME = re.compile(r"[a-z][a-z0-9-_.]*")
_ONBUILD = re.compile(r"\s*ONBUILD\s*", re.IGNORECASE)
_HEALTH_TIMES = {
    "interval": "Interval",
    "timeout": "Timeout",
    "start-period": "StartPeriod",
    "start-interval": "StartInterval",
}
_LEAST_NS = 1_000_000
_NETWORKS = ("default", "none", "host")
_SECURITY = ("sandbox", "insecure")


def instruction(node: Node) -> ins.Instruction:
    """Raises DockerfileError without its place; the caller knows the file."""
    reader = _READERS.get(node.name)
    if reader is None:
        near = difflib.get_close_matches(node.keyword.upper(), [name.upper() for name in _READERS], 1)
        raise DockerfileError(
            f"unknown instruction: {node.keyword.upper()}",
            f"did you mean {near[0]}?" if near else "a line that goes on must end in a backslash",
        )
    return reader(node)


def _common(node: Node) -> dict[str, Any]:
    return {"keyword": node.keyword.upper(), "text": node.text.strip(), "line": node.start, "end": node.end}


def _no_flags(node: Node) -> None:
    Flags(node.flags, keyword=node.keyword.upper())


#: How an instruction is written, for those that were written otherwise.
_USAGES = {
    "add": "ADD source... destination",
    "arg": "ARG NAME or ARG NAME=default",
    "cmd": 'CMD ["program", "argument"]',
    "copy": "COPY source... destination",
    "entrypoint": 'ENTRYPOINT ["program", "argument"]',
    "env": "ENV NAME=value",
    "expose": "EXPOSE 80 or EXPOSE 53/udp",
    "healthcheck": "HEALTHCHECK CMD command, or HEALTHCHECK NONE",
    "label": "LABEL name=value",
    "maintainer": "LABEL org.opencontainers.image.authors=NAME",
    "onbuild": "ONBUILD COPY . /src",
    "run": "RUN command",
    "shell": 'SHELL ["/bin/bash", "-c"]',
    "stopsignal": "STOPSIGNAL SIGTERM",
    "user": "USER name or USER uid:gid",
    "volume": "VOLUME /path",
    "workdir": "WORKDIR /path",
}


def _usage(node: Node) -> str:
    return _USAGES[node.name]


def _at_least_one(node: Node) -> None:
    if not node.words:
        raise DockerfileError(f"{node.keyword.upper()} requires at least one argument", _usage(node))


def _only(node: Node) -> str:
    if len(node.words) != 1:
        raise DockerfileError(f"{node.keyword.upper()} requires exactly one argument", _usage(node))
    return node.words[0]


def _from(node: Node) -> ins.From:
    words = node.words
    name = ""
    if len(words) == 3 and words[1].lower() == "as":
        name = words[2].lower()
        if not _STAGE_NAME.fullmatch(name):
            raise DockerfileError(
                f'invalid name for build stage: "{words[2]}"',
                "a name begins with a letter and has letters, digits, '-', '_' and '.'",
            )
    elif len(words) != 1:
        raise DockerfileError(
            "FROM requires either one or three arguments", "FROM image, or FROM image AS name"
        )
    flags = Flags(node.flags, keyword="FROM", texts=("platform",))
    return ins.From(**_common(node), base=words[0], name=name, platform=flags.text("platform"))


def _pairs(node: Node) -> tuple[ins.Pair, ...]:
    _no_flags(node)
    _at_least_one(node)
    words = iter(node.words)
    pairs = tuple(ins.Pair(*triple) for triple in zip(words, words, words, strict=True))
    if not all(pair.name for pair in pairs):
        raise DockerfileError(f"{node.keyword.upper()} names can not be blank", _usage(node))
    return pairs


def _env(node: Node) -> ins.Env:
    return ins.Env(**_common(node), pairs=_pairs(node))


def _label(node: Node) -> ins.Label:
    return ins.Label(**_common(node), pairs=_pairs(node))


def _arg(node: Node) -> ins.Arg:
    _no_flags(node)
    _at_least_one(node)
    pairs = []
    for word in node.words:
        name, equals, value = word.partition("=")
        if not name:
            raise DockerfileError("ARG names can not be blank", _usage(node))
        pairs.append(ins.ArgPair(name, value if equals else None))
    return ins.Arg(**_common(node), pairs=tuple(pairs))


def _command(node: Node) -> ins.Command:
    return ins.Command(node.words, not node.json, node.heredocs)


def _run(node: Node) -> ins.Run:
    flags = Flags(node.flags, keyword="RUN", texts=("network", "security"), lists=("mount", "device"))
    if flags.list("device"):
        raise DockerfileError(
            "RUN --device is not available: a build has no devices of the machine",
            "do what needs the device in a container: run --device",
        )
    network = flags.text("network") or "default"
    if network not in _NETWORKS:
        raise DockerfileError(f'unsupported network mode "{network}"', f"one of {', '.join(_NETWORKS)}")
    security = flags.text("security") or "sandbox"
    if security not in _SECURITY:
        raise DockerfileError(f'unsupported security mode "{security}"', f"one of {', '.join(_SECURITY)}")
    for text in flags.list("mount"):
        mounts.origin(text)
    _at_least_one(node)
    return ins.Run(
        **_common(node),
        command=_command(node),
        mounts=flags.list("mount"),
        network=network,
        security=security,
    )


def _transfer(node: Node, flags: Flags) -> dict[str, Any]:
    if len(node.words) < 2:
        raise DockerfileError(
            f"{node.keyword.upper()} requires at least two arguments, but only "
            f"{'one was' if node.words else 'none were'} provided. Destination could not be determined",
            _usage(node),
        )
    *sources, destination = node.words
    if heredocs.parse(destination) is not None:
        raise DockerfileError(
            f"{node.keyword.upper()} cannot accept a heredoc as a destination",
            f"{node.keyword.upper()} <<EOF /path",
        )
    inline = {heredoc.name: heredoc for heredoc in node.heredocs}
    plain, contents = [], []
    for source in sources:
        announced = heredocs.parse(source)
        if announced is None:
            plain.append(source)
        else:
            contents.append(inline.get(announced.name, announced))
    return {
        **_common(node),
        "sources": tuple(plain),
        "heredocs": tuple(contents),
        "destination": destination,
        "chown": flags.text("chown"),
        "chmod": flags.text("chmod"),
        "link": bool(flags.boolean("link")),
        "excludes": flags.list("exclude"),
    }


def _copy(node: Node) -> ins.Copy:
    flags = Flags(
        node.flags,
        keyword="COPY",
        texts=("chown", "chmod", "from"),
        booleans=("link", "parents"),
        lists=("exclude",),
    )
    return ins.Copy(
        **_transfer(node, flags), origin=flags.text("from"), parents=bool(flags.boolean("parents"))
    )


def _add(node: Node) -> ins.Add:
    flags = Flags(
        node.flags,
        keyword="ADD",
        texts=("chown", "chmod", "checksum"),
        booleans=("link", "keep-git-dir", "unpack"),
        lists=("exclude",),
    )
    return ins.Add(
        **_transfer(node, flags),
        checksum=flags.text("checksum"),
        keep_git_dir=bool(flags.boolean("keep-git-dir")),
        unpack=flags.boolean("unpack"),
    )


def _cmd(node: Node) -> ins.Cmd:
    _no_flags(node)
    return ins.Cmd(**_common(node), command=_command(node))


def _entrypoint(node: Node) -> ins.Entrypoint:
    _no_flags(node)
    return ins.Entrypoint(**_common(node), command=_command(node))


def _shell(node: Node) -> ins.Shell:
    _no_flags(node)
    if node.words and not node.json:
        raise DockerfileError("SHELL requires the arguments to be in JSON form", _usage(node))
    _at_least_one(node)
    return ins.Shell(**_common(node), words=node.words)


def _healthcheck(node: Node) -> ins.Healthcheck:
    _at_least_one(node)
    kind, command = node.words[0].upper(), node.words[1:]
    if kind == "NONE":
        if command:
            raise DockerfileError("HEALTHCHECK NONE takes no arguments", _usage(node))
        return ins.Healthcheck(**_common(node), test=("NONE",))
    flags = Flags(node.flags, keyword="HEALTHCHECK", texts=(*_HEALTH_TIMES, "retries"))
    if kind != "CMD":
        raise DockerfileError(f'unknown type "{kind}" in HEALTHCHECK (try CMD)', _usage(node))
    if not command:
        raise DockerfileError("missing command after HEALTHCHECK CMD", _usage(node))
    times = {field: _time(flags.text(name), name) for name, field in _HEALTH_TIMES.items()}
    return ins.Healthcheck(
        **_common(node),
        test=("CMD" if node.json else "CMD-SHELL", *command),
        times={field: value for field, value in times.items() if value},
        retries=_retries(flags.text("retries")),
    )


def _time(text: str, name: str) -> int:
    """Nanoseconds; 0 for what was not given."""
    if not text:
        return 0
    try:
        value = clock.parse_duration(text)
    except InvalidParameter as exc:
        raise DockerfileError(f"--{name}: {exc}", f"--{name}=30s, 1m30s or 500ms") from exc
    if 0 < value < _LEAST_NS:
        raise DockerfileError(
            f'interval "{name}" cannot be less than 1ms', "1ms or more, or 0 for the default"
        )
    return value


def _retries(text: str) -> int:
    if not text:
        return 0
    if not re.fullmatch(r"-?\d{1,9}", text):
        raise DockerfileError(f"--retries: {text!r} is not a number", "--retries=3")
    if text.startswith("-"):
        raise DockerfileError(f"--retries cannot be negative ({text})", "--retries=3, or 0 for the default")
    return int(text)


def _onbuild(node: Node) -> ins.OnBuild:
    _no_flags(node)
    if node.child is None:
        raise DockerfileError("ONBUILD requires at least one argument", _usage(node))
    trigger = node.child.keyword.upper()
    if trigger == "ONBUILD":
        raise DockerfileError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed", _usage(node))
    if trigger in ("FROM", "MAINTAINER"):
        raise DockerfileError(
            f"{trigger} isn't allowed as an ONBUILD trigger", "COPY, RUN and all others are"
        )
    text = _ONBUILD.sub("", node.text, count=1)
    for heredoc in node.heredocs:
        text += f"\n{heredoc.content}{heredoc.name}"
    return ins.OnBuild(**_common(node), trigger=text)


def _expose(node: Node) -> ins.Expose:
    _no_flags(node)
    _at_least_one(node)
    return ins.Expose(**_common(node), ports=tuple(sorted(node.words)))


def _volume(node: Node) -> ins.Volume:
    _no_flags(node)
    _at_least_one(node)
    paths = tuple(word.strip() for word in node.words)
    if not all(paths):
        raise DockerfileError("VOLUME specified can not be an empty string", _usage(node))
    return ins.Volume(**_common(node), paths=paths)


def _user(node: Node) -> ins.User:
    _no_flags(node)
    return ins.User(**_common(node), user=_only(node))


def _workdir(node: Node) -> ins.Workdir:
    _no_flags(node)
    return ins.Workdir(**_common(node), path=_only(node))


def _stop_signal(node: Node) -> ins.StopSignal:
    _no_flags(node)
    return ins.StopSignal(**_common(node), signal=_only(node))


def _maintainer(node: Node) -> ins.Maintainer:
    _no_flags(node)
    return ins.Maintainer(**_common(node), maintainer=_only(node))


_READERS: dict[str, Callable[[Node], ins.Instruction]] = {
    "add": _add,
    "arg": _arg,
    "cmd": _cmd,
    "copy": _copy,
    "entrypoint": _entrypoint,
    "env": _env,
    "expose": _expose,
    "from": _from,
    "healthcheck": _healthcheck,
    "label": _label,
    "maintainer": _maintainer,
    "onbuild": _onbuild,
    "run": _run,
    "shell": _shell,
    "stopsignal": _stop_signal,
    "user": _user,
    "volume": _volume,
    "workdir": _workdir,
}
