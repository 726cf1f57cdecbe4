"""kill, delete."""

import argparse
import signal

from wherryd.errors import InvalidParameter
from wherryd.runtime import ending
from wherryd.runtime.verbs.options import Verb, with_id


def _kill_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-a", "--all", action="store_true", help="to every process of the container")
    with_id(parser)
    parser.add_argument("signal", nargs="?", default="SIGTERM")


def _kill(given: argparse.Namespace) -> None:
    ending.kill(given.id, given.root, signal_number(given.signal), everyone=given.all)


def signal_number(text: str) -> int:
    """15, TERM, SIGTERM or RTMIN+3. Raises InvalidParameter."""
    if text.isdecimal() and int(text) < signal.NSIG:
        return int(text)
    name, plus, offset = text.upper().partition("+")
    name = name if name.startswith("SIG") else f"SIG{name}"
    number = int(signal.Signals[name]) if name in signal.Signals.__members__ else -1
    if plus and offset.isdecimal() and name == "SIGRTMIN":
        number += int(offset)
    elif plus:
        number = -1
    if not 0 < number < signal.NSIG:
        raise InvalidParameter(f"unknown signal {text!r}: see `kill -l`")
    return number


def _delete_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-f", "--force", action="store_true", help="kill it first")
    with_id(parser)


def _delete(given: argparse.Namespace) -> None:
    ending.delete(given.id, given.root, force=given.force)


VERBS = {
    "delete": Verb("Remove what a stopped container holds.", _delete_arguments, _delete),
    "kill": Verb("Send a signal to a container.", _kill_arguments, _kill),
}
