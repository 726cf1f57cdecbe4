"""wherry-runc's options: those before the verb, and how a verb's own are read.

Source: runc's man pages, whose names, meanings and log lines tools such as containerd's go-runc rely on.
"""

import argparse
import functools
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wherryd import clock
from wherryd.errors import NotSupported
from wherrywire.version import __version__

DEFAULT_ROOT: Final = Path("/run/wherry-runc")
OCI_VERSION: Final = "1.2.0"


@dataclass(frozen=True, slots=True)
class Verb:
    """text: for its --help. arguments: adds its options. action: carries it out; its exit status, or None."""

    text: str
    arguments: Callable[[argparse.ArgumentParser], object]
    action: Callable[[argparse.Namespace], int | None]


def with_id(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID")


def parse_global(given: list[str], verbs: Mapping[str, tuple[str, str]]) -> argparse.Namespace:
    """`verb` and `rest`, what stands behind it. Errors of use end in SystemExit(2), as argparse has it."""
    listing = "\n".join(f"  {name:<10}{text}" for name, (_, text) in verbs.items())
    parser = argparse.ArgumentParser(
        prog="wherry-runc",
        description="Run containers from OCI bundles.",
        epilog=f"commands:\n{listing}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    version = f"wherry-runc version {__version__}\nspec: {OCI_VERSION}"
    parser.add_argument("-v", "--version", action="store_true", help="print the versions and exit")
    parser.add_argument("--root", type=Path, default=DEFAULT_ROOT, help="where state is kept (on a tmpfs)")
    parser.add_argument("--log", type=Path, help="file that errors are appended to")
    parser.add_argument("--log-format", choices=("text", "json"), default="text")
    parser.add_argument("--debug", action="store_true", help="also say where in the runtime an error arose")
    parser.add_argument(
        "--systemd-cgroup", action="store_true", help="refused: cgroups are made by ourselves"
    )
    parser.add_argument("--rootless", default="auto", help="only auto and false: root is needed")
    parser.add_argument("verb", nargs="?", metavar="COMMAND")
    parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parsed = parser.parse_args(given)
    if parsed.version:
        sys.stdout.write(f"{version}\n")
        parser.exit(0)
    if parsed.verb is None:
        parser.error("name a command; --help lists them")
    if parsed.verb not in verbs:
        parser.error(f"no such command: {parsed.verb}; --help lists them")
    return parsed


def check_global(parsed: argparse.Namespace) -> None:
    """Raises NotSupported."""
    if parsed.systemd_cgroup:
        raise NotSupported(
            "--systemd-cgroup is not supported by wherry-runc: it makes cgroups itself; set the engine's "
            "cgroup driver to cgroupfs"
        )
    if parsed.rootless not in ("auto", "false"):
        raise NotSupported(f"--rootless={parsed.rootless} is not supported by wherry-runc: run it as root")


def parse_verb(parsed: argparse.Namespace, verb: Verb) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"wherry-runc {parsed.verb}", description=verb.text)
    verb.arguments(parser)
    own = parser.parse_args(parsed.rest)
    own.root = parsed.root.absolute()
    own.warn = functools.partial(warn, parsed)
    return own


def report(parsed: argparse.Namespace, error: Exception) -> None:
    """On stderr, and as a line in --log, where callers such as containerd look for it."""
    text = "\n".join([str(error), *getattr(error, "__notes__", ())])
    if parsed.debug and error.__traceback__ is not None:
        import traceback

        text += "\n" + "".join(traceback.format_tb(error.__traceback__)).rstrip()
    _log(parsed, "error", text)
    if parsed.log is not None or parsed.log_format == "text":
        sys.stderr.write(f"wherry-runc: {text}\n")


def warn(parsed: argparse.Namespace, text: str) -> None:
    """In --log if there is one: stderr is the container's as well."""
    _log(parsed, "warning", text)
    if parsed.log is None and parsed.log_format == "text":
        sys.stderr.write(f"wherry-runc: warning: {text}\n")


def _log(parsed: argparse.Namespace, level: str, text: str) -> None:
    """One line; JSON goes to stderr when there is no file."""
    if parsed.log_format == "json":
        line = json.dumps({"level": level, "msg": text, "time": clock.now()})
    else:
        line = f'time="{clock.now()}" level={level} msg={json.dumps(text)}'
    if parsed.log is not None:
        with parsed.log.open("a") as file:
            file.write(f"{line}\n")
    elif parsed.log_format == "json":
        sys.stderr.write(f"{line}\n")


def print_json(document: object) -> None:
    sys.stdout.write(f"{json.dumps(document, indent=2)}\n")


def print_lines(lines: list[str]) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
