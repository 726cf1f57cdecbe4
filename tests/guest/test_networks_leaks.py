"""The leak counter sees what it says it sees: else every test that trusts it proves nothing."""

import contextlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import leaks
import pytest
from networks_rig import MARK

from wherryd.networks import namespaces

pytestmark = pytest.mark.root

NAME = f"wk{MARK}"


def run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=10)


def link(_: Path) -> Callable[[], None]:
    run("ip", "link", "add", NAME, "type", "bridge")
    return lambda: run("ip", "link", "delete", NAME)


def nft_table(_: Path) -> Callable[[], None]:
    run("nft", "add", "table", "ip", NAME)
    return lambda: run("nft", "delete", "table", "ip", NAME)


def namespace(folder: Path) -> Callable[[], None]:
    made = namespaces.create(folder)
    made.close()
    return lambda: namespaces.remove(made.path)


def mount(folder: Path) -> Callable[[], None]:
    run("mount", "-t", "tmpfs", "none", str(folder))
    return lambda: run("umount", str(folder))


def cgroup(_: Path) -> Callable[[], None]:
    controllers = (
        path for path in Path("/sys/fs/cgroup").iterdir() if path.joinpath("cgroup.procs").exists()
    )
    made = next(controllers, Path("/sys/fs/cgroup")) / NAME
    made.mkdir()
    return made.rmdir


def process(_: Path) -> Callable[[], None]:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "wherry", NAME])

    def end() -> None:
        child.kill()
        child.wait(timeout=10)

    return end


@pytest.mark.parametrize("make", [link, nft_table, namespace, mount, cgroup, process])
def test_what_is_left_is_told_and_what_is_gone_is_not(
    tmp_path: Path, make: Callable[[Path], Callable[[], None]]
) -> None:
    folder = tmp_path / NAME
    folder.mkdir()
    with (
        contextlib.ExitStack() as stack,
        pytest.raises(AssertionError, match=NAME),
        leaks.none_left(NAME, settle_seconds=0),
    ):
        stack.callback(make(folder))
    with leaks.none_left(NAME):
        make(folder)()
