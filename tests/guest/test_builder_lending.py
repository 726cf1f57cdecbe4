"""Secrets and SSH agents that `wherry build` lends: seen by the step that asks, and nowhere afterwards."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from builder_rig import build, saved, shell
from native_engine import NativeEngine

pytestmark = pytest.mark.root

SECRET = "open sesame \N{KEY}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "context"
    made.mkdir()
    (tmp_path / "password").write_text(SECRET)
    return made


def wherry(
    engine: NativeEngine, folder: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).parent / "wherry"), "build", *arguments, "."],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**engine.docker_environment(), "WHERRY_HOST": f"unix://{engine.socket}", **environment},
        timeout=120,
        check=False,
    )


def test_a_secret_is_there_for_its_step_and_in_no_layer(engine: NativeEngine, folder: Path) -> None:
    mount = "RUN --mount=type=secret,id=pw"
    (folder / "Dockerfile").write_text(
        "FROM busybox:test\n"
        f"{mount} stat -c '%a %u' /run/secrets/pw > /seen && md5sum < /run/secrets/pw >> /seen\n"
        f"{mount},target=/etc/pw,mode=0440,uid=7 stat -c '%a %u' /etc/pw >> /seen\n"
        f'{mount},env=PW echo "$PW" | md5sum >> /seen\n'
        'RUN test ! -e /run/secrets && test ! -e /etc/pw && test -z "$PW"\n'
    )
    made = wherry(engine, folder, "--secret", "id=pw,src=../password", "-t", "secret")
    assert made.returncode == 0, made.stdout + made.stderr
    lines = shell(engine, "secret", "cat /seen").splitlines()
    assert (lines[0], lines[2]) == ("400 0", "440 7")
    for line, text in ((1, SECRET), (3, SECRET + "\n")):
        assert lines[line].split()[0] == hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
    assert SECRET.encode() not in saved(engine, "secret")
    assert "sesame" not in str(engine.call("GET", "/images/secret/history").json)
    again = wherry(engine, folder, "--secret", "id=pw,src=../password")
    assert again.stdout.count("Using cache") == 4
    assert list((engine.exec_root / "builder").iterdir()) == []


def test_a_secret_may_come_from_the_environment(engine: NativeEngine, folder: Path) -> None:
    (folder / "Dockerfile").write_text(
        "FROM busybox:test\nRUN --mount=type=secret,id=TOKEN cat /run/secrets/TOKEN > /token\n"
    )
    made = wherry(engine, folder, "--secret", "id=TOKEN", "-t", "fromenv", TOKEN="abc")
    assert made.returncode == 0, made.stderr
    assert shell(engine, "fromenv", "cat /token") == "abc"


def test_a_secret_that_is_not_given_fails_only_when_required(engine: NativeEngine, folder: Path) -> None:
    mount = "RUN --mount=type=secret,id=nope{} test ! -e /run/secrets/nope\n"
    (folder / "Dockerfile").write_text("FROM busybox:test\n" + mount.format(""))
    assert wherry(engine, folder).returncode == 0
    (folder / "Dockerfile").write_text("FROM busybox:test\n" + mount.format(",required"))
    refused = wherry(engine, folder)
    assert refused.returncode != 0
    assert "secret nope: not found" in refused.stderr
    assert "--secret id=nope,src=FILE" in refused.stderr


def test_an_offer_serves_one_build(engine: NativeEngine) -> None:
    token = engine.call("POST", "/build/offers", {"Secrets": {"a": "YQ=="}}).json["Token"]
    files = {"Dockerfile": "FROM busybox:test\nRUN --mount=type=secret,id=a,required true\n"}
    assert not build(engine, files, offer=token).error
    assert build(engine, files, offer=token, nocache="1").status == 400


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[str]:
    """A real ssh-agent with one key; gives its socket."""
    socket = tmp_path / "agent.sock"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        key = tmp_path / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lent", "-f", key], check=True)
        environment = {**os.environ, "SSH_AUTH_SOCK": str(socket)}
        for _ in range(100):
            added = subprocess.run(["ssh-add", "-q", key], env=environment, check=False, capture_output=True)
            if added.returncode == 0:
                break
        assert added.returncode == 0, added.stderr
        yield str(socket)
    finally:
        process.terminate()
        process.wait(10)


def test_a_step_uses_the_clients_ssh_agent(engine: NativeEngine, folder: Path, agent: str) -> None:
    program = shutil.which("ssh-add")
    assert program is not None
    listed = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    for library in [word for word in listed.split() if word.startswith("/")]:
        place = folder / "root" / library.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, place)
    shutil.copy(program, folder / "root" / "ssh-add")
    (folder / "Dockerfile").write_text(
        "FROM busybox:test\nCOPY root/ /\n"
        "RUN --mount=type=ssh /ssh-add -l > /keys && /ssh-add -L >> /keys\n"
        'RUN test ! -e /run/buildkit && test -z "$SSH_AUTH_SOCK"\n'
    )
    made = wherry(engine, folder, "--ssh", "default", "-t", "agent", SSH_AUTH_SOCK=agent)
    assert made.returncode == 0, made.stdout + made.stderr
    keys = shell(engine, "agent", "cat /keys")
    assert keys.count("lent") == 2
    missing = wherry(engine, folder, "--no-cache")
    assert missing.returncode != 0
