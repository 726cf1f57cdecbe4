"""exec: a further process in a running container."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from wherryd.errors import InvalidParameter, NotSupported
from wherryd.runtime import standalone
from wherryd.runtime.verbs.options import Verb
from wherryd.spec import parse
from wherryd.spec.oci import CapabilitySets, Process, User


def _arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("-p", "--process", type=Path, help="file with an OCI process object")
    add("-t", "--tty", action="store_true")
    add("-d", "--detach", action="store_true")
    add("-e", "--env", action="append", default=[], metavar="NAME=VALUE")
    add("-c", "--cap", action="append", default=[])
    add("-u", "--user", help="uid[:gid]")
    add("-g", "--additional-gids", action="append", type=int, default=[])
    add("--cwd")
    add("--no-new-privs", action="store_true")
    add("--apparmor", metavar="PROFILE")
    add("--process-label", help="refused: SELinux is not supported")
    add("--cgroup", metavar="PATH", help="refused: it joins the container's own group")
    add("--console-socket", type=Path)
    add("--pid-file", type=Path)
    add("--preserve-fds", type=int, default=0, metavar="N")
    add("--ignore-paused", action="store_true", help="wait in a paused container until it is resumed")
    add("id", metavar="ID")
    add("args", nargs=argparse.REMAINDER, metavar="COMMAND")


def _exec(given: argparse.Namespace) -> int:
    if given.process_label:
        raise NotSupported("--process-label: this runtime has no SELinux: leave it out")
    if given.cgroup:
        raise NotSupported("--cgroup: a further process joins the container's own cgroup: leave it out")
    process = _from_file(given) if given.process is not None else _from_options(given)
    options = standalone.Options(
        root=given.root,
        pid_file=given.pid_file,
        console_socket=given.console_socket,
        preserve_fds=given.preserve_fds,
        ignore_paused=given.ignore_paused,
    )
    return standalone.exec_process(given.id, options, process, detach=given.detach)


def _from_file(given: argparse.Namespace) -> Process:
    try:
        return parse.parse_process(json.loads(given.process.read_bytes()))
    except ValueError as error:
        raise InvalidParameter(f"{given.process} is not JSON: {error}") from error


def _from_options(given: argparse.Namespace) -> Process:
    args = given.args[1:] if given.args[:1] == ["--"] else given.args
    if not args:
        raise InvalidParameter("exec: name a program, or give --process")
    own = standalone.exec_template(given.id, given.root)
    user = replace(own.user, additional_gids=(*own.user.additional_gids, *given.additional_gids))
    if given.user is not None:
        user = User(username=given.user, additional_gids=tuple(given.additional_gids))
    return replace(
        own,
        args=tuple(args),
        env=(*own.env, *given.env),
        cwd=given.cwd or own.cwd,
        terminal=given.tty,
        user=user,
        capabilities=_with_caps(own.capabilities, given.cap),
        no_new_privileges=own.no_new_privileges or given.no_new_privs,
        apparmor_profile=given.apparmor or own.apparmor_profile,
    )


def _with_caps(own: CapabilitySets, more: Sequence[str]) -> CapabilitySets:
    return replace(
        own,
        bounding=(*own.bounding, *more),
        effective=(*own.effective, *more),
        permitted=(*own.permitted, *more),
    )


VERBS = {"exec": Verb("Run a further process in a running container.", _arguments, _exec)}
