"""`wherry machine set`: what the engine is sent, what it makes of it, and how it is asked."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from wherry.cli.machine import set as machine_set
from wherry.cli.machine import sshfallback
from wherry.errors import MachineNotRunning, MachineProblem, UsageProblem
from wherry.machine.state import MachineState


class _Machine:
    """Running, with a host key that is known."""

    name = "default"

    def __init__(self, folder: Path, state: MachineState = MachineState.RUNNING) -> None:
        self.provider = self
        self.files = self
        self.known_host = folder / "known_host"
        self.known_host.write_text("SHA256:x")
        self._state = state

    def state(self) -> MachineState:
        return self._state


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, Any]]:
    """(command, document) of each call; answers as the guest does."""
    calls: list[tuple[str, Any]] = []

    def answer(_machine: object, command: str, data: bytes) -> tuple[int, bytes, bytes]:
        calls.append((command, json.loads(data)))
        return (
            0,
            b'{"options": {"registry-mirrors": ["https://m"]}, "certificates": {"r:5": ["ca.crt"]}}',
            b"",
        )

    monkeypatch.setattr(sshfallback, "answer_of", answer)
    monkeypatch.setattr(machine_set, "open_machine", lambda _name: _Machine(tmp_path))
    return calls


def _run(*arguments: str) -> Any:
    return CliRunner().invoke(machine_set.set_, arguments, catch_exceptions=False)


def test_settings_are_sent_in_dockerds_words_and_the_engine_restarts(
    asked: list[tuple[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_text("PEM")
    done = _run(
        *("--registry-mirror", "https://m", "--registry-mirror", "https://n"),
        *("--insecure-registry", "10.0.0.0/8", "--registry-ca", f"r:5={tmp_path / 'ca.pem'}"),
    )
    assert asked == [
        (
            "sudo wherryd configure && sudo systemctl restart wherryd",
            {
                "options": {
                    "registry-mirrors": ["https://m", "https://n"],
                    "insecure-registries": ["10.0.0.0/8"],
                },
                "certificates": {"r:5": {"ca.crt": "PEM"}},
            },
        )
    ]
    assert done.output == "registry-mirrors: https://m\ncertificates of r:5: ca.crt\n"


def test_without_options_it_only_shows_what_is_set(asked: list[tuple[str, Any]]) -> None:
    assert "registry-mirrors: https://m" in _run().output
    assert asked == [("sudo wherryd configure", {})]


def test_empty_value_takes_a_setting_back(asked: list[tuple[str, Any]]) -> None:
    _run("--registry-mirror", "", "--registry-ca", "r:5=")
    assert asked[0][1] == {"options": {"registry-mirrors": None}, "certificates": {"r:5": None}}


def test_folder_of_docker_is_taken_over(asked: list[tuple[str, Any]], tmp_path: Path) -> None:
    host = tmp_path / "certs.d" / "registry.example"
    host.mkdir(parents=True)
    for name in ("ca.crt", "me.cert", "me.key", "README"):
        (host / name).write_text(name)
    _run("--registry-certs", str(tmp_path / "certs.d"))
    assert asked[0][1]["certificates"] == {
        "registry.example": {name: name for name in ("ca.crt", "me.cert", "me.key")}
    }


@pytest.mark.parametrize("text", ["registry.example", "=ca.pem", "r=/no/such/file"])
def test_authority_that_cannot_be_read_is_refused(asked: list[tuple[str, Any]], text: str) -> None:
    with pytest.raises(UsageProblem):
        _run("--registry-ca", text)
    assert not asked


def test_folder_without_registries_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match=r"HOST\[:PORT\]/ca.crt"):
        machine_set.document({}, (), tmp_path)


def test_stopped_machine_says_how_to_start_it(tmp_path: Path) -> None:
    with pytest.raises(MachineNotRunning, match="wherry machine start"):
        machine_set.apply(_Machine(tmp_path, MachineState.STOPPED), {})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("complaint", "kind", "words"),
    [
        (b"wherryd: --registry-mirror x: wants https://host[:port]", UsageProblem, "^--registry-mirror x"),
        (b"wherryd: error: unrecognized arguments: configure", MachineProblem, "older than this wherry"),
    ],
)
def test_refusal_of_the_engine_is_shown(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    complaint: bytes,
    kind: type[Exception],
    words: str,
) -> None:
    monkeypatch.setattr(sshfallback, "answer_of", lambda *_: (1, b"", complaint))
    with pytest.raises(kind, match=words):
        machine_set.apply(_Machine(tmp_path), {"options": {}})  # type: ignore[arg-type]


def test_connection_that_breaks_off_says_how_to_look(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sshfallback, "answer_of", lambda *_: (-1, b"", b""))
    with pytest.raises(MachineProblem, match="broke off .* `wherry machine set` shows what is set"):
        machine_set.apply(_Machine(tmp_path), {"options": {}})  # type: ignore[arg-type]
