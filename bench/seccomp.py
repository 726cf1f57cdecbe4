"""What the seccomp filter adds to a container's start, in processor time: the machine may be shared."""

import json
import os
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.figures import Figure, table
from wherryd.containers.confinement import seccomp_filter
from wherryd.runtime import seccomp
from wherryd.spec import defaults
from wherryd.spec import seccomp as spec_seccomp
from wherryd.spec.fields import Fields
from wherryd.sys import process
from wherryd.sys import seccomp as sys_seccomp

RUNS = 30


def report() -> str:
    """The section of docs/benchmarks.md. Needs libseccomp."""
    document = seccomp_filter({"SecurityOpt": None, "Privileged": False}, list(defaults.CAPABILITIES))
    text = json.dumps(document)
    subject = seccomp.Subject(container_id="c", bundle="/", version="1.2.0", annotations={})
    with tempfile.TemporaryDirectory(prefix="wherry-bench-") as cache:

        def known() -> seccomp.Program:
            wanted = spec_seccomp.parse(Fields(json.loads(text), "linux.seccomp", []))
            return seccomp.load(wanted, subject, cache=Path(cache))

        program = known()
        prepared = sys_seccomp.prepare(program.code)
        steps: dict[str, Callable[[], object]] = {
            "writing it into the config": lambda: json.dumps(document),
            "reading it, and finding its compiled form": known,
            "installing it": lambda: sys_seccomp.install(prepared, program.flags),
        }
        rows = [
            [title, Figure(tuple(in_fork(action) for _ in range(RUNS)), "ms")]
            for title, action in steps.items()
        ]
    return (
        "## The seccomp filter of one start\n\n"
        f"Docker's default profile. Milliseconds of processor time, {RUNS} runs each in a fresh fork, as a "
        "monitor is; median (smallest to largest).\n\n" + table(["", "wherryd"], rows)
    )


def in_fork(action: Callable[[], object]) -> float:
    """Milliseconds of processor time in a child of its own, with no_new_privs, as installing wants."""
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            process.prctl(process.PR_SET_NO_NEW_PRIVS, 1)
            started = time.thread_time()
            action()
            os.write(send, struct.pack("=d", 1000 * (time.thread_time() - started)))
        finally:
            os._exit(0)
    os.close(send)
    with os.fdopen(receive, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    (milliseconds,) = struct.unpack("=d", data)
    return float(milliseconds)
