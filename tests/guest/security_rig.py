"""Attackers: programs that run in a container and report, as JSON, what they got.

They are Python on the host's own interpreter, bound read-only below /usr, because a shell cannot make a
system call by its number. `WEAKENED` set-ups show that an attack works where the defence is missing.
"""

import json
from typing import Any

from runtime_rig import Output, Rig, config

from wherryd.containers import confinement
from wherryd.spec import defaults

#: Defined for every attacker: `call` is syscall(2), which gives 0 or above, or the negative errno.
PRELUDE = """
import ctypes, json, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(number, *arguments):
    ctypes.set_errno(0)
    got = libc.syscall(ctypes.c_long(number), *(
        each if isinstance(each, (bytes, ctypes._SimpleCData)) or each is None else ctypes.c_long(each)
        for each in arguments))
    return -ctypes.get_errno() if got == -1 else got
"""


def docker_default(host: dict[str, Any] | None = None) -> dict[str, Any]:
    """linux.seccomp of a container with Docker's default capabilities."""
    found = confinement.seccomp_filter(
        {"SecurityOpt": None, "Privileged": False} | (host or {}), list(defaults.CAPABILITIES)
    )
    assert found is not None
    return dict(found)


def attacker(rig: Rig, program: str, *arguments: str, seccomp: Any = None, **process: Any) -> dict[str, Any]:
    """A config that runs program; it prints its findings as one JSON document."""
    for name in ("lib", "lib64", "usr"):
        place = rig.base / "image" / name
        if name == "usr":
            place.mkdir(exist_ok=True)
        elif not place.is_symlink():
            place.symlink_to(f"usr/{name}")
    document = config("/usr/bin/python3", "-I", "-S", "-c", PRELUDE + program, *arguments, **process)
    document["mounts"].append(
        {"destination": "/usr", "type": "bind", "source": "/usr", "options": ["rbind", "ro"]}
    )
    if seccomp is not None:
        document["linux"]["seccomp"] = seccomp
    return document


def findings(output: Output) -> Any:
    assert output.status.exit_code == 0, (output.status, output.stdout, output.stderr)
    return json.loads(output.stdout)
