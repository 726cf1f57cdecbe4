"""An engine through ssh: what ssh is asked for, and what is said when it fails."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_call import wherry
from cli_fake_engine import Answer, FakeEngine, fake_engine

from wherry.engine.endpoint import parse
from wherry.engine.ssh import command

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for ssh is a shell script")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ssh://h", ["-T", "--", "h"]),
        ("ssh://me@h:2222", ["-T", "-l", "me", "-p", "2222", "--", "h"]),
    ],
)
def test_ssh_is_asked_for_the_engine_over_there(url: str, words: list[str]) -> None:
    *found, remote = command(parse(url))
    assert found == ["ssh", "-o", "ConnectTimeout=30", *words]
    assert remote == "docker system dial-stdio || wherry system dial-stdio"


def test_a_path_over_there_is_quoted() -> None:
    remote = command(parse("ssh://h/run/a b;c.sock"))[-1]
    assert remote.startswith("docker --host 'unix:///run/a b;c.sock' system dial-stdio || ")


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeEngine]:
    """An engine that only `wherry` on the other side knows; ssh is a script that runs its last word here."""
    with fake_engine() as engine:
        programs = tmp_path / "bin"
        programs.mkdir()
        for name, text in {
            "ssh": 'for last; do :; done; [ "$2" = ConnectTimeout=30 ] || exit 9; exec sh -c "$last"',
            "docker": 'echo "docker: there is none" >&2; exit 127',
            "wherry": f'WHERRY_HOST={engine.url} exec "{sys.executable}" -m wherry "$@"',
        }.items():
            (programs / name).write_text(f"#!/bin/sh\n{text}\n")
            (programs / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
        yield engine


def test_calls_go_through_it(
    far: FakeEngine, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    far.on("GET", "/containers/json", Answer(200, [{"Id": "a" * 64, "Names": ["/db"], "Created": 1}]))
    given = ["-H", "ssh://me@far.example", "ps", "--format", "{{.Names}}"]
    assert wherry(monkeypatch, capfd, *given) == (0, "db\n", "")


def test_streams_end_one_way_at_a_time(
    far: FakeEngine, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    import socket

    def echo(connection: socket.socket) -> None:
        received = b""
        while data := connection.recv(65536):
            received += data
        text = b"got %d\n" % len(received)
        connection.sendall(b"\x01\0\0\0" + len(text).to_bytes(4, "big") + text)

    far.on("GET", "/containers/db/json", Answer(200, {"Config": {"Tty": False}, "State": {"Running": True}}))
    far.on("POST", "/containers/db/exec", Answer(201, {"Id": "e" * 64}))
    far.on("POST", "/exec/e+/start", Answer(hijack=echo))
    far.on("GET", "/exec/e+/json", Answer(200, {"ExitCode": 4, "Running": False}))
    given = tmp_path / "in"
    given.write_bytes(b"x" * 100_000)
    saved = os.dup(0)
    try:
        with given.open("rb") as file:
            os.dup2(file.fileno(), 0)
        shown = wherry(monkeypatch, capfd, "-H", "ssh://far.example", "exec", "-i", "db", "cat")
    finally:
        os.dup2(saved, 0)
        os.close(saved)
    assert shown == (4, "got 100000\n", "")


def test_what_ssh_says_is_passed_on(
    far: FakeEngine, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "bin" / "ssh").write_text("#!/bin/sh\necho 'Permission denied (publickey).' >&2; exit 255\n")
    status, out, err = wherry(monkeypatch, capfd, "-H", "ssh://far.example", "ps")
    assert (status, out) == (1, "")
    assert "255: Permission denied (publickey)." in err
    assert "Traceback" not in err
