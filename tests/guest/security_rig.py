"""Attackers: programs that run in a container and report, as JSON, what they got.

They are Python on the host's own interpreter, bound read-only below /usr, because a shell cannot make a
system call by its number. Weakened set-ups (`by_command`) show that an attack works where the defence is
missing.
"""

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runtime_rig import CGROUP, TIMEOUT_S, Output, Rig, config

from wherryd.containers import confinement
from wherryd.runtime.types import ExitStatus
from wherryd.spec import defaults

#: Defined for every attacker: `call` is syscall(2), which gives 0 or above, or the negative errno.
PRELUDE = """
import ctypes, json, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(number, *arguments):
    ctypes.set_errno(0)
    as_it_is = (bytes, ctypes._SimpleCData, ctypes.Array, type(None))
    got = libc.syscall(ctypes.c_long(number), *(
        each if isinstance(each, as_it_is) else ctypes.c_long(each) for each in arguments))
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


#: What the two kinds of containers are called in parameters: root inside is the host's root, or is not.
IDS = ("host-ids", "own-ids")
BASE_ID = 300000


def with_ids(document: dict[str, Any], ids: str) -> dict[str, Any]:
    """The config in a user namespace of its own for "own-ids", as it is for "host-ids"."""
    if ids == "own-ids":
        maps = [{"containerID": 0, "hostID": BASE_ID, "size": 65536}]
        document["linux"]["namespaces"].append({"type": "user"})
        document["linux"] |= {"uidMappings": maps, "gidMappings": maps}
    return document


def without(document: dict[str, Any], *destinations: str) -> dict[str, Any]:
    """The config less its mounts at these places."""
    document["mounts"] = [each for each in document["mounts"] if each["destination"] not in destinations]
    return document


def bind(source: Path, destination: str, *options: str) -> dict[str, Any]:
    return {
        "destination": destination,
        "type": "bind",
        "source": str(source),
        "options": ["rbind", *options],
    }


@contextlib.contextmanager
def image_has(rig: Rig, path: str, target: str) -> Iterator[None]:
    """The image has a symlink at path meanwhile; what was there comes back."""
    link = rig.base / "image" / path
    kept = link.with_name(link.name + ".kept")
    if link.is_symlink() or link.exists():
        link.rename(kept)
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target)
    try:
        yield
    finally:
        link.unlink()
        if kept.is_symlink() or kept.exists():
            kept.rename(link)


def by_command(rig: Rig, document: dict[str, Any], weaken: str = "") -> Output:
    """`wherry-runc run` on a copy of the image, by a runtime that may be changed first; blocks.

    weaken: Python that is run before the command, with `ROOT`, the root file system's path on the host. It
    takes a measure away, so that the attack must work there.
    """
    name = rig.name()
    bundle = rig.base / name
    root = bundle / "rootfs"
    shutil.copytree(rig.base / "image", root, symlinks=True)
    document["linux"]["cgroupsPath"] = f"{CGROUP}/{name}"
    (bundle / "config.json").write_text(json.dumps(document))
    program = f"ROOT = {str(root)!r}\n{weaken}\nfrom wherryd.runtime import cli\ncli.main()\n"
    done = subprocess.run(
        [sys.executable, "-c", program, "--root", str(rig.base / "runc"), "run", "-b", str(bundle), name],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    shutil.rmtree(bundle)
    return Output(ExitStatus(done.returncode, "", False, ""), done.stdout, done.stderr)
