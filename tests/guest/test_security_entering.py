"""Rows 1 and 20 of docs/security.md: who enters is seen by those inside, and shows them nothing."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from runc_rig import Runc, made
from runtime_rig import config
from security_rig import PRELUDE

pytestmark = pytest.mark.root

_SPY = """
import glob, time
seen, end = set(), time.monotonic() + 60
print("up", flush=True)
while time.monotonic() < end and not os.path.exists("/tmp/enough"):
    for path in glob.glob("/proc/[0-9]*"):
        try:
            seen.add(os.readlink(f"{path}/exe"))
            if os.listdir(f"{path}/fd") and int(path[6:]) != os.getpid():
                seen.add("descriptors of " + os.readlink(f"{path}/exe"))
        except OSError:
            pass
print(json.dumps(sorted(seen)), flush=True)
"""
_DUMPABLE = """
from wherryd.sys import process
asked = process.prctl
process.prctl = lambda option, *rest: 0 if option == process.PR_SET_DUMPABLE else asked(option, *rest)
"""
#: So that there is time to look: it has left its own files behind, and is the user already.
_SLOWLY = """
import time
from wherryd.runtime import identity
find = identity.find_program
def slowly(wanted, env):
    time.sleep(0.5)
    return find(wanted, env)
identity.find_program = slowly
"""


def _until(file: Path, word: str) -> str:
    end = time.monotonic() + 60
    while word not in (said := file.read_text()):
        assert time.monotonic() < end, said
        time.sleep(0.02)
    return said


@pytest.mark.parametrize("weakened", [False, True])
def test_who_enters_shows_neither_program_nor_descriptors(tmp_path: Path, weakened: bool) -> None:
    """CVE-2016-9962, CVE-2019-5736: not even for a long moment. Weakened: it stays dumpable."""
    document = config("/usr/bin/python3", "-I", "-S", "-c", PRELUDE + _SPY)
    document["mounts"].append(
        {"destination": "/usr", "type": "bind", "source": "/usr", "options": ["rbind", "ro"]}
    )
    with made(tmp_path / "runc") as runc:
        seen = _seen_while_entering(runc, document, tmp_path / "out", weakened=weakened)
    # Our interpreter is on a mount of its own, which has no place in there: its path is "/".
    assert ("/" in seen, "descriptors of /" in seen) == (weakened, weakened), seen


def _seen_while_entering(runc: Runc, document: dict[str, Any], out: Path, *, weakened: bool) -> list[str]:
    for name in ("lib", "lib64"):
        (runc.base / "rootfs" / name).symlink_to(f"usr/{name}")
    (runc.base / "rootfs/usr").mkdir()
    bundle = runc.bundle("spy", document)
    with out.open("w") as file:
        runc("run", "-d", "-b", str(bundle), "spy", stdout=file, stderr=file)
    _until(out, "up")
    program = _SLOWLY + (_DUMPABLE if weakened else "") + "from wherryd.runtime import cli\ncli.main()\n"
    enter = [sys.executable, "-c", program, "--root", str(runc.base / "root"), "exec", "spy"]
    subprocess.run([*enter, "touch", "/tmp/enough"], check=True, timeout=60, stdin=subprocess.DEVNULL)
    return list(json.loads(_until(out, "]").splitlines()[1]))
