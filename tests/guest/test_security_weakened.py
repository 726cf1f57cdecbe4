"""Attacks whose defence is a check or a way of looking something up: each is made twice, on the runtime as it
is, where it must fail, and on one whose check was taken out or put back to the naive form, where it works."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
import runtime_fixtures
from runtime_rig import Output, Rig, config
from security_rig import by_command, image_has, without

pytestmark = [pytest.mark.root, pytest.mark.asyncio(loop_scope="module")]

rig = runtime_fixtures.rig


async def run(rig: Rig, document: dict[str, Any], weaken: str = "") -> Output:
    return await asyncio.to_thread(by_command, rig, document, weaken)


# --- row 4: the console ---

#: The terminal is found again by its name, in the root that the image has made.
_CONSOLE_BY_NAME = """
import os
from wherryd.runtime import devices
from wherryd.sys import mounts, paths
devices.open_terminal = lambda root: os.openpty()
def bind_console(root, slave):
    found = paths.open_in_root(root, "/dev/pts/0", paths.O_PATH)
    source = mounts.clone_mount("", recursive=False, dirfd=found)
    mounts.move_mount(source, paths.create_in_root(root, "/dev/console", 0o600), "/dev/console")
devices.bind_console = bind_console
"""


@pytest.mark.parametrize("name", ["dev/pts/0", "dev/pts"])
async def test_a_console_is_our_terminal_whatever_has_its_name(rig: Rig, name: str) -> None:
    """CVE-2025-52565: what is at /dev/pts/0 becomes /dev/console, and may then be written to, before it is
    read-only. Here it is a sysctl."""
    sysctl = "/proc/sys/net/ipv4/ip_default_ttl"

    def document() -> dict[str, Any]:
        found = config("sh", "-c", f"echo 77 > /dev/console; cat {sysctl}", terminal=True)
        return without(found, "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue")

    target = sysctl if name == "dev/pts/0" else f"{sysctl.rpartition('/')[0]}"
    with image_has(rig, name, target):
        done = await run(rig, document())
        assert done.status.exit_code != 0
        assert "no terminal: /dev/pts/ptmx in the root" in done.stderr
        if name == "dev/pts/0":
            done = await run(rig, document(), _CONSOLE_BY_NAME)
            assert done.stdout.split()[-1] == "77", done


# --- row 21: ids and the environment ---

_UNCHECKED_ID = """
from wherryd.spec import fields, users
fields.Fields.id = lambda self, name: self.raw(name) or 0
users.resolve = lambda *_: users.User()  # it would not find -1, and say so
"""
#: As a language does that keeps ids in 32 bits.
_WRAPPED_ID = """
from wherryd.spec import users
users._number = lambda text: int(text) % 2**32 if text.isdecimal() else None
"""


async def test_an_id_beyond_what_ids_are_is_not_root(rig: Rig) -> None:
    """CVE-2024-40635: -1 is "as it is" to the kernel, and 2**32 wraps to 0."""
    asked = {"uid": -1, "gid": 1000}
    done = await run(rig, config("id", "-u", user=asked))
    assert (done.status.exit_code != 0, done.stdout) == (True, "")
    assert "process.user.uid: must be an integer from 0 to 2147483647, is -1" in done.stderr
    assert (await run(rig, config("id", "-u", user=asked), _UNCHECKED_ID)).stdout == "0\n"
    asked = {"uid": 0, "gid": 0, "username": "4294967296:1000"}
    done = await run(rig, config("id", "-u", user=asked))
    assert (done.status.exit_code != 0, done.stdout) == (True, "")
    assert "must be in range 0-2147483647" in done.stderr
    assert (await run(rig, config("id", "-u", user=asked), _WRAPPED_ID)).stdout == "0\n"


_FROM_THE_HOST = """
import os
from wherryd.runtime import identity
os.environ["WHERRY_SECRET"] = "of the engine"
identity.environment = lambda wanted, home: {
    name: value if equals else os.environ.get(name, "")
    for name, equals, value in (each.partition("=") for each in wanted.env)
}
"""
_ENV_UNCHECKED = """
from wherryd.spec import parse
import dataclasses
strict = parse._process
def lenient(fields, refused):
    env = tuple(fields.document["env"])
    fields._value = {**fields._value, "env": []}
    return dataclasses.replace(strict(fields, refused), env=env)
parse._process = lenient
"""


async def test_a_variable_without_a_value_is_not_the_hosts(rig: Rig) -> None:
    """CVE-2026-57231. The engine strips such names; the runtime's door refuses them."""
    env = ["PATH=/bin", "WHERRY_SECRET"]
    done = await run(rig, config("env", env=env), _FROM_THE_HOST)
    assert (done.stdout, "process.env: every entry must be NAME=value" in done.stderr) == ("", True)
    done = await run(rig, config("env", env=env), _FROM_THE_HOST + _ENV_UNCHECKED)
    assert "WHERRY_SECRET=of the engine" in done.stdout


# --- row 22: the working directory and volumes of an image ---

#: Folders are made by their paths on the host: what `os.makedirs` and `os.path` do with links.
_MADE_BY_PATH = """
import os
from wherryd.sys import paths
def mkdir(root, path, mode=0o755):
    os.makedirs(ROOT + path, exist_ok=True)
    return os.open(ROOT + path, os.O_PATH)
paths.mkdir_in_root = mkdir
"""


@pytest.mark.parametrize("what", ["WORKDIR", "VOLUME"])
async def test_a_folder_that_an_image_names_is_made_inside(rig: Rig, tmp_path: Path, what: str) -> None:
    """CVE-2022-23648, CVE-2026-53488: on the way is a link of the image to a folder of the host."""
    outside, volume = tmp_path / "outside", tmp_path / "volume"
    outside.mkdir()
    volume.mkdir()

    def document() -> dict[str, Any]:
        if what == "WORKDIR":
            return config("true", cwd="/named/made/deep")
        found = config("true")
        found["mounts"].append(
            {
                "destination": "/named/made/deep",
                "type": "bind",
                "source": str(volume),
                "options": ["rbind"],
            }
        )
        return found

    with image_has(rig, "named", str(outside)):
        assert (await run(rig, document())).status.exit_code == 0
        assert list(outside.iterdir()) == []
        await run(rig, document(), _MADE_BY_PATH)
        assert (outside / "made/deep").is_dir()


# --- row 24: what never ends ---

_READ_PLAINLY = """
import os, signal
from wherryd.sys import paths
def give_up(number, frame):
    raise RuntimeError("it waits for ever")
def read(root, path, *, limit_bytes):
    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(2)
    with open(os.open(path.lstrip("/"), os.O_RDONLY, dir_fd=root), "rb") as file:
        return file.read()
paths.read_small_file = read
"""


@pytest.mark.parametrize("name", ["passwd", "group"])
async def test_a_pipe_in_place_of_a_users_file_does_not_hold_up_a_start(rig: Rig, name: str) -> None:
    """CVE-2024-9676."""
    place, kept = rig.base / "image/etc" / name, rig.base / f"{name}.kept"
    place.rename(kept)
    os.mkfifo(place)
    # Not `id`: that one would wait for it by itself.
    program = config("grep", "Uid", "/proc/self/status", user={"uid": 0, "gid": 0, "username": "7:8"})
    try:
        # The copy of the image that by_command makes would wait for it, too.
        assert (await rig.run(program)).stdout.split()[1] == "7"
        done = await _with_a_pipe(rig, program, f"etc/{name}", _READ_PLAINLY)
        assert done.stdout == ""
        assert "it waits for ever" in done.stderr, done
    finally:
        place.unlink()
        kept.rename(place)


#: The command begins anew once, on its read-only mount.
_PIPE = """
import contextlib, os
with contextlib.suppress(FileExistsError):
    os.mkfifo(f"{{ROOT}}/{name}")
"""


async def _with_a_pipe(rig: Rig, document: dict[str, Any], name: str, weaken: str) -> Output:
    """`by_command` with a FIFO made in its copy of the image."""
    (rig.base / "image" / name).unlink()
    try:
        return await run(rig, document, f"{_PIPE.format(name=name)}{weaken}")
    finally:
        os.mkfifo(rig.base / "image" / name)
