"""Hooks: each at its point, with the state on stdin, and what a failure does."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from runtime_rig import Rig, config

from wherryd.errors import InvalidParameter, RuntimeFault

pytestmark = [pytest.mark.root, pytest.mark.asyncio(loop_scope="module")]

OUTSIDE = ("prestart", "createRuntime", "poststart", "poststop")
ALL = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def rig() -> AsyncIterator[Rig]:
    rig = Rig()
    rig.base.chmod(0o755)
    await rig.client.open()
    yield rig
    await rig.end()


def hook(script: str, *, inside: bool = False, **more: Any) -> dict[str, Any]:
    return {"path": "/bin/sh" if inside else "/bin/bash", "args": ["sh", "-c", script], **more}


def lines(path: Path) -> list[list[str]]:
    return [line.split(" ", 2) for line in path.read_text().splitlines()]


def with_all(document: dict[str, Any], log: Path) -> dict[str, Any]:
    """Each writes its name, its host name and the state; startContainer to a file inside."""
    document["hooks"] = {
        name: [
            hook(
                f"echo {name} $(hostname) $(cat) >> {'/log' if name == 'startContainer' else log}",
                inside=name == "startContainer",
                env=["PATH=/bin:/usr/bin"],
            )
        ]
        for name in ALL
    }
    return document


@pytest.mark.parametrize("users", [False, True])
async def test_all_six_run_where_and_when_they_should(rig: Rig, tmp_path: Path, users: bool) -> None:
    log = tmp_path / "log"
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    log.touch()
    log.chmod(0o666)
    document = with_all(config("sh", "-c", "cat /log; sleep 1000"), log)
    document["annotations"] = {"org.example": "yes"}
    if users:
        maps = [{"containerID": 0, "hostID": 400000, "size": 65536}]
        document["linux"]["namespaces"].append({"type": "user"})
        document["linux"] |= {"uidMappings": maps, "gidMappings": maps}
    monitor = await rig.create(document)
    assert [name for name, _, _ in lines(log)] == ["prestart", "createRuntime", "createContainer"]
    await monitor.start()
    assert [name for name, _, _ in lines(log)][3:] == ["poststart"]
    inside = lines(Path(f"/proc/{monitor.pid}/root/log"))
    await monitor.kill(9)
    await monitor.wait()
    await monitor.delete()
    outside = lines(log)
    assert [name for name, _, _ in outside] == [name for name in ALL if name != "startContainer"]
    states = {name: (host, json.loads(state)) for name, host, state in (*outside, *inside)}
    host = Path("/proc/sys/kernel/hostname").read_text().strip()
    for name, (where, state) in states.items():
        assert where == (host if name in OUTSIDE else "box"), name
        assert state["id"] == monitor.container_id
        assert state["annotations"] == {"org.example": "yes"}
        assert state.get("pid") == (None if name == "poststop" else monitor.pid)
    statuses = {name: state["status"] for name, (_, state) in states.items()}
    expected = ["created", "creating", "creating", "created", "running", "stopped"]
    assert statuses == dict(zip(ALL, expected, strict=True))


@pytest.mark.parametrize("name", ["prestart", "createRuntime", "createContainer"])
async def test_a_failure_at_create_ends_it_with_what_the_hook_said(
    rig: Rig, tmp_path: Path, name: str
) -> None:
    log = tmp_path / "log"
    document = config("true")
    document["hooks"] = {
        name: [hook("echo why >&2; exit 3"), hook(f"touch {tmp_path}/never")],
        "prestart" if name != "prestart" else "createRuntime": [hook("true")],
        "poststop": [hook(f"echo stopped > {log}")],
    }
    with pytest.raises(RuntimeFault, match=rf"error running {name} hook #0: /bin/bash: exit status 3; why"):
        await rig.create(document, name=f"fails-{name}")
    assert not (tmp_path / "never").exists()
    assert log.read_text() == "stopped\n"
    assert not (rig.exec_root / "containers" / f"fails-{name}").exists()


async def test_a_failure_inside_at_start_is_the_starts(rig: Rig) -> None:
    document = config("touch", "/ran")
    document["hooks"] = {"startContainer": [hook("exit 4", inside=True)]}
    monitor = await rig.create(document)
    with pytest.raises(RuntimeFault, match="startContainer hook #0: /bin/sh: exit status 4"):
        await monitor.start()
    await monitor.wait()
    await monitor.delete()
    assert not (rig.base / monitor.container_id / "upper/ran").exists()


async def test_a_failure_after_the_start_ends_the_container(rig: Rig) -> None:
    """runtime.md, "Lifecycle", since 1.2.1."""
    document = config("sleep", "1000") | {"ociVersion": "1.2.1"}
    document["hooks"] = {"poststart": [hook("exit 5")]}
    monitor = await rig.create(document)
    with pytest.raises(RuntimeFault, match="poststart hook #0"):
        await monitor.start()
    assert (await monitor.wait()).exit_code != 0
    await monitor.delete()


async def test_by_an_older_spec_a_failure_after_the_start_is_a_warning(rig: Rig, tmp_path: Path) -> None:
    """runtime.md, "Lifecycle", before 1.2.1: the remaining hooks and the container go on."""
    document = config("sleep", "1000") | {"ociVersion": "1.0.2"}
    document["hooks"] = {"poststart": [hook("exit 5"), hook(f"touch {tmp_path}/second")]}
    monitor = await rig.create(document)
    await monitor.start()
    assert (tmp_path / "second").exists()
    log = rig.exec_root / "containers" / monitor.container_id / "monitor.log"
    assert "poststart hook #0" in log.read_text()
    await monitor.kill(9)
    await monitor.wait()
    await monitor.delete()


async def test_a_failure_at_delete_changes_nothing_and_the_next_ones_run(rig: Rig, tmp_path: Path) -> None:
    document = config("true")
    document["hooks"] = {
        "poststop": [hook("exit 6"), {"path": "/nonexistent"}, hook(f"touch {tmp_path}/ran")]
    }
    assert (await rig.run(document)).status.exit_code == 0
    assert (tmp_path / "ran").exists()


async def test_a_hook_that_is_late_is_killed(rig: Rig) -> None:
    document = config("true")
    document["hooks"] = {"createRuntime": [hook("exec sleep 1000", timeout=1)]}
    with pytest.raises(RuntimeFault, match="did not end within 1 s"):
        await rig.create(document)


async def test_a_hook_has_its_own_environment_and_no_descriptor_of_ours(rig: Rig, tmp_path: Path) -> None:
    document = config("true")
    script = f"cd {tmp_path}; env > env; readlink /proc/self/ns/pid > pid; exec ls -l /proc/self/fd > fds"
    document["hooks"] = {"createRuntime": [hook(script, env=["A=1", "PATH=/bin:/usr/bin"])]}
    await rig.run(document)
    names = {line.partition("=")[0] for line in (tmp_path / "env").read_text().splitlines()}
    assert names <= {"A", "PATH", "PWD", "OLDPWD", "SHLVL", "_"}
    assert (tmp_path / "pid").read_text().strip() == os.readlink("/proc/self/ns/pid")  # noqa: PTH115
    open_files = [line.split(" -> ")[1] for line in (tmp_path / "fds").read_text().splitlines()[1:]]
    assert [each.partition(" ")[0] for each in open_files[:3]] == [
        "/memfd:state",
        str(tmp_path / "fds"),
        "/memfd:stderr",
    ]
    assert len(open_files) == 4, open_files  # and that of ls


@pytest.mark.parametrize(
    "broken", [{"path": "relative"}, {"path": "/x", "timeout": 0}, {"path": "/x", "env": ["NOVALUE"]}, {}]
)
async def test_a_hook_that_cannot_be_is_refused(rig: Rig, broken: dict[str, Any]) -> None:
    document = config("true")
    document["hooks"] = {"poststop": [broken]}
    with pytest.raises(InvalidParameter, match=r"hooks.poststop\[0\]"):
        await rig.create(document)


async def test_the_command_line_runs_them_in_three_commands(rig: Rig, tmp_path: Path) -> None:
    log, bundle = tmp_path / "log", tmp_path / "bundle"
    bundle.mkdir()
    document = with_all(config("sleep", "1000"), log)
    document["root"]["path"] = str(rig.base / "image")
    document["linux"]["cgroupsPath"] = "/wherry-rig-hooks"
    (bundle / "config.json").write_text(json.dumps(document))

    def runc(*arguments: str) -> None:
        command = [sys.executable, "-m", "wherryd.runtime.cli", "--root", str(tmp_path / "state"), *arguments]
        subprocess.run(command, check=True, timeout=60, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    try:
        runc("create", "-b", str(bundle), "hooked")
        assert [name for name, _, _ in lines(log)] == ["prestart", "createRuntime", "createContainer"]
        runc("start", "hooked")
        assert [name for name, _, _ in lines(log)][3:] == ["poststart"]
    finally:
        runc("delete", "--force", "hooked")
        (rig.base / "image/log").unlink(missing_ok=True)
    assert [name for name, _, _ in lines(log)][4:] == ["poststop"]
