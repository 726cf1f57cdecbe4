"""create, start, run."""

import argparse
from pathlib import Path

from wherryd.runtime import standalone
from wherryd.runtime.verbs.options import Verb, with_id


def _create_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-b", "--bundle", type=Path, default=Path(), help="folder with config.json")
    parser.add_argument("--console-socket", type=Path, help="unix socket that gets the terminal")
    parser.add_argument("--pid-file", type=Path)
    parser.add_argument("--preserve-fds", type=int, default=0, metavar="N", help="pass on so many from 3 on")
    parser.add_argument("--no-pivot", action="store_true", help="for a root on a ramdisk: do not pivot_root")
    parser.add_argument("--no-new-keyring", action="store_true", help="keep the caller's session keyring")
    with_id(parser)


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-d", "--detach", action="store_true")
    parser.add_argument("--keep", action="store_true", help="do not delete it after it has ended")
    _create_arguments(parser)


def _options(given: argparse.Namespace) -> standalone.Options:
    return standalone.Options(
        root=given.root,
        pid_file=given.pid_file,
        console_socket=given.console_socket,
        preserve_fds=given.preserve_fds,
        pivot=not given.no_pivot,
        new_keyring=not given.no_new_keyring,
        warn=given.warn,
    )


def _create(given: argparse.Namespace) -> None:
    standalone.create(given.id, given.bundle, _options(given))


def _run(given: argparse.Namespace) -> int:
    return standalone.run(given.id, given.bundle, _options(given), detach=given.detach, keep=given.keep)


def _start(given: argparse.Namespace) -> None:
    standalone.start(given.id, given.root, given.warn)


VERBS = {
    "create": Verb("Create a container.", _create_arguments, _create),
    "run": Verb("Create and run a container.", _run_arguments, _run),
    "start": Verb("Start a created container.", with_id, _start),
}
