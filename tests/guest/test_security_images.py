"""Hostile images and requests at the API: what they name must not lead out, wrap around, block or explode."""

import contextlib
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from native_engine import NativeEngine, busybox_tar

pytestmark = pytest.mark.root


@contextlib.contextmanager
def image(
    engine: NativeEngine, *entries: tarfile.TarInfo, changes: tuple[str, ...] = (), name: str = "hostile:test"
) -> Iterator[str]:
    """busybox with entries in place of its own ones of the same name; removed afterwards."""
    buffer = io.BytesIO()
    replaced = {entry.name for entry in entries}
    with (
        tarfile.open(fileobj=io.BytesIO(busybox_tar())) as source,
        tarfile.open(fileobj=buffer, mode="w") as archive,
    ):
        for member in source:
            if member.name not in replaced:
                archive.addfile(member, source.extractfile(member) if member.isfile() else None)
        for entry in entries:
            archive.addfile(entry)
    repository, _, tag = name.partition(":")
    answer = engine.call(
        "POST",
        "/images/create",
        buffer.getvalue(),
        fromSrc="-",
        repo=repository,
        tag=tag,
        changes=list(changes),
    )
    assert answer.status == 200, answer.text
    assert "errorDetail" not in answer.text, answer.text
    try:
        yield name
    finally:
        engine.remove_containers()
        engine.call("DELETE", f"/images/{name}", force="1")


def link(name: str, target: str) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    return entry


def create(engine: NativeEngine, **fields: Any) -> Any:
    return engine.call("POST", "/containers/create", {"Image": "busybox:test", "Cmd": ["true"], **fields})


def outcome(engine: NativeEngine, **fields: Any) -> tuple[int, str]:
    """(exit code, output), or (0, the refusal) when it could not be created or started."""
    made = create(engine, Tty=True, **fields)
    if made.status != 201:
        return 0, made.message
    container = made.json["Id"]
    started = engine.call("POST", f"/containers/{container}/start")
    if started.status != 204:
        return 0, str(started.message)
    code = engine.wait(container)
    return code, str(engine.call("GET", f"/containers/{container}/logs", stdout="1", stderr="1").text)


@pytest.mark.parametrize("user", ["2147483648", "4294967295", "4294967296", "-1", "0:4294967296", "0:-1"])
def test_a_user_that_would_wrap_around_to_root_is_refused(engine: NativeEngine, user: str) -> None:
    """Row 21, CVE-2024-40635."""
    code, said = outcome(engine, User=user, Cmd=["id", "-u"])
    assert code == 0
    assert "0\r\n" not in said
    assert "uid" in said.lower() or "user" in said.lower() or "unable to find" in said


def test_an_images_user_that_would_wrap_around_is_refused(engine: NativeEngine) -> None:
    with image(engine, changes=("USER 4294967296",)) as name:
        code, said = outcome(engine, Image=name, Cmd=["id", "-u"])
        assert code == 0
        assert "0\r\n" not in said


def test_the_environment_is_made_from_nothing(engine: NativeEngine) -> None:
    """Row 21, CVE-2026-57231: a name without a value is not filled from the engine's own environment."""
    code, said = outcome(engine, Env=["WHERRY_TEST_ENGINE", "A=1"], Cmd=["env"])
    assert code == 0
    names = {line.partition("=")[0] for line in said.split()}
    assert names == {"A", "PATH", "HOSTNAME", "TERM", "HOME", "FROM_IMAGE"}


@pytest.mark.parametrize("path", ["/", "/proc", "/proc/", "/sys", "/dev", "/../proc", "proc"])
def test_an_images_volume_over_the_foundations_is_refused(engine: NativeEngine, path: str) -> None:
    """Row 22, CVE-2015-3630 and its like."""
    with image(engine, changes=(f'VOLUME ["{path}"]',)) as name:
        made = create(engine, Image=name)
        assert made.status == 400, made.text


def test_an_images_volume_that_is_a_link_stays_inside(engine: NativeEngine, tmp_path: Path) -> None:
    """Row 22, CVE-2022-23648: the volume is not filled from, nor mounted on, what the link means outside."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "file").write_text("of the host")
    with image(engine, link("data", str(secret)), changes=('VOLUME ["/data"]',)) as name:
        code, said = outcome(engine, Image=name, Cmd=["sh", "-c", f"ls /data/ {secret}; touch /data/new"])
        assert (code, "file" in said) == (0, False)
    assert [each.name for each in secret.iterdir()] == ["file"]


@pytest.mark.parametrize(
    "target", ["/proc/self/fd/9", "/proc/self/cwd", "/nowhere/out", "../../../../outside"]
)
def test_a_working_directory_that_is_a_link_stays_inside(engine: NativeEngine, target: str) -> None:
    """Row 2 and 22, CVE-2024-21626, CVE-2026-53488."""
    with image(engine, link("work", target), changes=("WORKDIR /work",)) as name:
        code, said = outcome(engine, Image=name, Cmd=["sh", "-c", "pwd -P; ls -d ../../../../../etc/apt"])
        assert "/etc/apt\r" not in said.replace("ls: ", "") or code != 0
    assert not Path("/nowhere").exists()
    assert not Path("/outside").exists()


def test_labels_of_an_image_are_labels_and_nothing_more(engine: NativeEngine) -> None:
    """Row 22: none is read as an option of the engine's."""
    label = 'LABEL io.wherry.privileged="true" com.docker.privileged="true" org.opencontainers.runtime="host"'
    with image(engine, changes=(label,)) as name:
        code, said = outcome(engine, Image=name, Cmd=["grep", "CapEff", "/proc/self/status"])
        assert (code, said.split()[1]) == (0, "00000000a80425fb")


def test_a_fifo_in_place_of_passwd_does_not_block(engine: NativeEngine) -> None:
    """Row 24, CVE-2024-9676: neither at the start nor at exec."""
    # Not `id`: that one would wait for the FIFO by itself.
    command = {"Cmd": ["grep", "Uid", "/proc/self/status"], "AttachStdout": True}
    fifos = []
    for name in ("etc/passwd", "etc/group"):
        entry = tarfile.TarInfo(name)
        entry.type = tarfile.FIFOTYPE
        fifos.append(entry)
    with image(engine, *fifos) as name:
        container = engine.run("sleep", "1000", image=name, User="1000")
        made = engine.call("POST", f"/containers/{container}/exec", command)
        started = engine.call("POST", f"/exec/{made.json['Id']}/start", {"Detach": False})
        assert b"1000" in started.body
        refused = create(engine, Image=name, User="nobody")
        if refused.status == 201:
            refused = engine.call("POST", f"/containers/{refused.json['Id']}/start")
        assert "nobody" in refused.message


@pytest.mark.parametrize("cpus", ["1-9223372036854775807", "0-99999", "0-", "1-0", "0,,1", "a"])
def test_a_list_of_processors_is_not_expanded_without_end(engine: NativeEngine, cpus: str) -> None:
    """Row 24, CVE-2018-20699."""
    assert create(engine, HostConfig={"CpusetCpus": cpus}).status == 400


def test_a_huge_body_is_refused_before_it_is_in_memory(engine: NativeEngine) -> None:
    """Row 24."""
    answer = create(engine, Labels={"a": "x" * (32 << 20)})
    assert answer.status in (400, 413)
    assert engine.call("GET", "/_ping").status == 200


def test_no_folder_of_the_engine_can_be_walked_by_others(engine: NativeEngine) -> None:
    """CVE-2024-25621 and rule 10: layers have set-user-id programs, logs have secrets."""
    container = engine.run("sleep", "1000")
    assert engine.data_root.stat().st_mode & 0o067 == 0
    # What is in here can be reached by name, and not be listed.
    assert engine.exec_root.stat().st_mode & 0o066 == 0
    for folder in ("bundles", "containers"):
        assert (engine.exec_root / folder / container).stat().st_mode & 0o077 == 0
