"""wherry-runc: our runtime as an OCI command with runc's verbs and options. No daemon is needed.

`main` is the only function that exits.
"""

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from wherryd import clock
from wherryd.errors import EngineError, InvalidParameter, RuntimeFault
from wherryd.runtime import mountoptions, selfexe, standalone
from wherryd.runtime.state import State, StateDir
from wherryd.spec import parse, seccomp
from wherryd.spec.oci import CapabilitySets, NamespaceKind, Process, User
from wherryd.sys import capabilities, signals
from wherrywire.version import __version__

DEFAULT_ROOT: Final = Path("/run/wherry-runc")
OCI_VERSION: Final = "1.2.0"


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    signals.default_inherited()
    try:
        if options.verb in ("create", "run", "exec"):
            selfexe.start_again_protected()
        sys.exit(options.action(options) or 0)
    except (EngineError, OSError) as error:
        _report(options, error)
        sys.exit(
            error.exit_code if isinstance(error, RuntimeFault) and options.verb in ("run", "exec") else 1
        )


def _report(options: argparse.Namespace, error: Exception) -> None:
    """On stderr, and as a line of JSON in --log, where callers such as containerd look for it."""
    text = "\n".join([str(error), *getattr(error, "__notes__", ())])
    sys.stderr.write(f"wherry-runc: {text}\n")
    if options.log is not None:
        with options.log.open("a") as file:
            if options.log_format == "json":
                file.write(json.dumps({"level": "error", "msg": text, "time": clock.now()}) + "\n")
            else:
                file.write(f'time="{clock.now()}" level=error msg={json.dumps(text)}\n')


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="wherry-runc", description="Run containers from OCI bundles.")
    parser.add_argument(
        "--version", action="version", version=f"wherry-runc version {__version__}\nspec: {OCI_VERSION}"
    )
    parser.add_argument("--root", type=Path, default=DEFAULT_ROOT, help="where state is kept (on a tmpfs)")
    parser.add_argument("--log", type=Path, help="file that errors are appended to")
    parser.add_argument("--log-format", choices=("text", "json"), default="text")
    parser.add_argument("--debug", action="store_true", help="accepted for runc's sake")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="COMMAND")
    _add_lifecycle(verbs)
    _add_queries(verbs)
    return parser


def _add_lifecycle(verbs: Any) -> None:
    for name, action, text in (
        ("create", _create, "create a container"),
        ("run", _run, "create and run one"),
    ):
        verb = verbs.add_parser(name, help=text)
        verb.add_argument("-b", "--bundle", type=Path, default=Path(), help="folder with config.json")
        verb.add_argument("--console-socket", type=Path)
        verb.add_argument("--pid-file", type=Path)
        if name == "run":
            verb.add_argument("-d", "--detach", action="store_true")
            verb.add_argument("--keep", action="store_true", help="do not delete it after it has ended")
        verb.add_argument("id")
        verb.set_defaults(action=action)
    _simple(verbs, "start", "start a created container", lambda o: standalone.start(o.id, o.root))
    verb = _simple(verbs, "kill", "send a signal to the first process", _kill)
    verb.add_argument("-a", "--all", action="store_true", help="to every process")
    verb.add_argument("signal", nargs="?", default="SIGTERM")
    verb = _simple(verbs, "delete", "remove what a stopped container holds", _delete)
    verb.add_argument("-f", "--force", action="store_true", help="kill it first")
    _simple(verbs, "pause", "freeze all processes", lambda o: _cgroup(o).freeze())
    _simple(verbs, "resume", "thaw them", lambda o: _cgroup(o).thaw())
    verb = _simple(verbs, "exec", "run a further process in a container", _exec)
    verb.add_argument("-p", "--process", type=Path, help="file with an OCI process object")
    verb.add_argument("-t", "--tty", action="store_true")
    verb.add_argument("-d", "--detach", action="store_true")
    verb.add_argument("-e", "--env", action="append", default=[], metavar="NAME=VALUE")
    verb.add_argument("-c", "--cap", action="append", default=[])
    verb.add_argument("-u", "--user", help="uid[:gid]")
    verb.add_argument("-g", "--additional-gids", action="append", type=int, default=[])
    verb.add_argument("--cwd")
    verb.add_argument("--no-new-privs", action="store_true")
    verb.add_argument("--console-socket", type=Path)
    verb.add_argument("--pid-file", type=Path)
    verb.add_argument("args", nargs=argparse.REMAINDER)


def _add_queries(verbs: Any) -> None:
    _simple(verbs, "state", "the container's state as JSON", _state)
    verb = _simple(verbs, "ps", "its processes, as the host numbers them", _ps)
    verb.add_argument("-f", "--format", choices=("table", "json"), default="table")
    verb = verbs.add_parser("list", help="all containers below --root")
    verb.add_argument("-f", "--format", choices=("table", "json"), default="table")
    verb.add_argument("-q", "--quiet", action="store_true")
    verb.set_defaults(action=_list)
    verbs.add_parser("features", help="what this runtime can do, as JSON").set_defaults(action=_features)


def _simple(verbs: Any, name: str, text: str, action: Any) -> Any:
    verb = verbs.add_parser(name, help=text)
    verb.add_argument("id")
    verb.set_defaults(action=action)
    return verb


def _options(options: argparse.Namespace) -> standalone.Options:
    return standalone.Options(
        root=options.root.absolute(), pid_file=options.pid_file, console_socket=options.console_socket
    )


def _create(options: argparse.Namespace) -> None:
    standalone.create(options.id, options.bundle, _options(options))


def _run(options: argparse.Namespace) -> int:
    return standalone.run(
        options.id, options.bundle, _options(options), detach=options.detach, keep=options.keep
    )


def _kill(options: argparse.Namespace) -> None:
    standalone.kill(options.id, options.root, signal_number(options.signal), everyone=options.all)


def signal_number(text: str) -> int:
    """15, TERM or SIGTERM. Raises InvalidParameter."""
    if text.isdecimal():
        return int(text)
    name = text.upper() if text.upper().startswith("SIG") else f"SIG{text.upper()}"
    if name not in signal.Signals.__members__:
        raise InvalidParameter(f"unknown signal {text!r}: see `kill -l`")
    return int(signal.Signals[name])


def _delete(options: argparse.Namespace) -> None:
    standalone.delete(options.id, options.root, force=options.force)


def _read(options: argparse.Namespace) -> State:
    return StateDir(options.root, options.id).read_state()


def _cgroup(options: argparse.Namespace) -> Any:
    return standalone.cgroup_of(_read(options))


def _exec(options: argparse.Namespace) -> int:
    if options.process is not None:
        process = parse.parse_process(json.loads(options.process.read_bytes()))
    else:
        process = _exec_process(options)
    return standalone.exec_process(options.id, _options(options), process, detach=options.detach)


def _exec_process(options: argparse.Namespace) -> Process:
    args = options.args[1:] if options.args[:1] == ["--"] else options.args
    if not args:
        raise InvalidParameter("exec: name a program, or give --process")
    own = standalone.exec_template(options.id, options.root)
    user = replace(own.user, additional_gids=(*own.user.additional_gids, *options.additional_gids))
    if options.user is not None:
        user = User(username=options.user, additional_gids=tuple(options.additional_gids))
    return replace(
        own,
        args=tuple(args),
        env=(*own.env, *options.env),
        cwd=options.cwd or own.cwd,
        terminal=options.tty,
        user=user,
        capabilities=_with_caps(own.capabilities, options.cap),
        no_new_privileges=own.no_new_privileges or options.no_new_privs,
    )


def _with_caps(own: CapabilitySets, more: Sequence[str]) -> CapabilitySets:
    return replace(
        own,
        bounding=(*own.bounding, *more),
        effective=(*own.effective, *more),
        permitted=(*own.permitted, *more),
    )


def _document(state: State) -> dict[str, Any]:
    """runtime.md, "State", with runc's additions."""
    status = standalone.status_of(state)
    return {
        "ociVersion": OCI_VERSION,
        "id": state.container_id,
        "pid": 0 if status == "stopped" else state.pid,
        "status": status,
        "bundle": state.bundle,
        "rootfs": state.rootfs,
        "created": state.created_at,
        "annotations": state.annotations,
        "owner": "root",
    }


def _state(options: argparse.Namespace) -> None:
    _print(_document(_read(options)))


def _list(options: argparse.Namespace) -> None:
    documents = [_document(state) for state in standalone.states(options.root)]
    if options.quiet:
        _lines([each["id"] for each in documents])
    elif options.format == "json":
        _print(documents)
    else:
        rows: list[tuple[str, ...]] = [("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")]
        rows += [tuple(str(each[key.lower()]) for key in rows[0]) for each in documents]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        _lines(
            ["   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
        )


def _ps(options: argparse.Namespace) -> None:
    pids = _cgroup(options).pids()
    if options.format == "json":
        _print(pids)
        return
    _lines(["PID     CMD"])
    for pid in pids:
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
        _lines([f"{pid:<7} {command}"])


def _features(_options: argparse.Namespace) -> None:
    """features.md. Only what is really carried out."""
    _print(
        {
            "ociVersionMin": "1.0.0",
            "ociVersionMax": OCI_VERSION,
            "hooks": [
                "prestart",
                "createRuntime",
                "createContainer",
                "startContainer",
                "poststart",
                "poststop",
            ],
            "mountOptions": list(mountoptions.KNOWN),
            "linux": {
                "namespaces": [str(kind) for kind in NamespaceKind],
                "capabilities": list(capabilities.names(capabilities.bounding_set())),
                "cgroup": {"v1": True, "v2": True, "systemd": False, "systemdUser": False, "rdma": False},
                "seccomp": {
                    "enabled": True,
                    "actions": list(seccomp.ACTIONS),
                    "operators": list(seccomp.OPERATORS),
                    "archs": list(seccomp.ARCHITECTURES),
                    "knownFlags": list(seccomp.FLAGS),
                    "supportedFlags": list(seccomp.FLAGS),
                },
                "apparmor": {"enabled": False},
                "selinux": {"enabled": False},
                "intelRdt": {"enabled": False},
                "mountExtensions": {"idmap": {"enabled": True}},
            },
        }
    )


def _print(document: Any) -> None:
    sys.stdout.write(json.dumps(document, indent=2) + os.linesep)


def _lines(lines: Sequence[str]) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    main()
