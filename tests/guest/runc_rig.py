"""wherry-runc as a command, with a folder for its bundles and its state."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runtime_rig import CGROUP, make_root
from runtime_rig import config as rig_config

from wherryd.cgroups import tree
from wherryd.cgroups.manager import layout


class Runc:
    def __init__(self, base: Path) -> None:
        self.base = base
        make_root(base / "rootfs")

    def bundle(self, name: str, document: dict[str, Any]) -> Path:
        folder = self.base / name
        folder.mkdir()
        document["root"]["path"] = str(self.base / "rootfs")
        document["linux"]["cgroupsPath"] = f"{CGROUP}/{name}"
        (folder / "config.json").write_text(json.dumps(document))
        return folder

    def __call__(self, *arguments: str, check: bool = True, **more: Any) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "wherryd.runtime.cli", "--root", str(self.base / "root"), *arguments]
        more = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | more
        done = subprocess.run(command, text=True, timeout=60, check=False, **more)
        assert not check or done.returncode == 0, done.stderr
        return done

    def create(self, name: str, *args: str, **process: Any) -> None:
        bundle = self.bundle(name, rig_config(*args, **process))
        with (self.base / f"{name}.out").open("w") as out:
            self("create", "-b", str(bundle), "--pid-file", str(bundle / "pid"), name, stdout=out, stderr=out)

    def status(self, name: str) -> str:
        return str(json.loads(self("state", name).stdout)["status"])

    def until_stopped(self, name: str) -> None:
        for _ in range(200):
            if self.status(name) == "stopped":
                return
        raise AssertionError(f"{name} did not stop")


@contextmanager
def made(base: Path) -> Iterator[Runc]:
    """Nothing is left of it afterwards."""
    runc = Runc(base)
    try:
        yield runc
    finally:
        for name in runc("list", "-q").stdout.split():
            runc("delete", "--force", name)
        for mount in dict.fromkeys(layout().mounts.values()):
            tree.remove(mount / CGROUP.lstrip("/"))
        shutil.rmtree(base)
