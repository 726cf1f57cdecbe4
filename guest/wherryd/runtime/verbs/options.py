"""wherry-runc's options: those before the verb, and how a verb's own are read.

Source: runc's man pages, whose names, meanings and log lines tools such as containerd's go-runc rely on.
"""

import argparse
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
    return own


def report(parsed: argparse.Namespace, error: Exception) -> None:
    """On stderr, and as a line in --log, where callers such as containerd look for it."""
    text = "\n".join([str(error), *getattr(error, "__notes__", ())])
    if parsed.debug and error.__traceback__ is not None:
        import traceback

        text += "\n" + "".join(traceback.format_tb(error.__traceback__)).rstrip()
    as_json = json.dumps({"level": "error", "msg": text, "time": clock.now()})
    if parsed.log is not None:
        with parsed.log.open("a") as file:
            if parsed.log_format == "json":
                file.write(f"{as_json}\n")
            else:
                file.write(f'time="{clock.now()}" level=error msg={json.dumps(text)}\n')
    if parsed.log is None and parsed.log_format == "json":
        sys.stderr.write(f"{as_json}\n")
    else:
        sys.stderr.write(f"wherry-runc: {text}\n")


def print_json(document: object) -> None:
    sys.stdout.write(f"{json.dumps(document, indent=2)}\n")


def print_lines(lines: list[str]) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
