"""Where the client looks for the engine, and what it says when nobody is there."""

import sys
from pathlib import Path

import pytest

from wherry.engine.endpoint import Endpoint, Scheme, Wanted, of_machine, parse, resolve
from wherry.errors import MachineNotRunning, NoSuchMachine, UsageProblem
from wherry.paths import paths


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("unix:///a/b.sock", Endpoint(scheme=Scheme.UNIX, path="/a/b.sock")),
        ("tcp://h:99", Endpoint(scheme=Scheme.TCP, host="h", port=99)),
        ("tcp://h", Endpoint(scheme=Scheme.TCP, host="h", port=2375)),
        ("http://[::1]:5", Endpoint(scheme=Scheme.TCP, host="::1", port=5)),
        ("h:99", Endpoint(scheme=Scheme.TCP, host="h", port=99)),
        (":99", Endpoint(scheme=Scheme.TCP, host="localhost", port=99)),
        ("ssh://me@h:22", Endpoint(scheme=Scheme.SSH, host="h", port=22, user="me")),
        ("ssh://h/run/d.sock", Endpoint(scheme=Scheme.SSH, host="h", path="/run/d.sock")),
        ("npipe:////./pipe/docker", Endpoint(scheme=Scheme.NPIPE, path="//./pipe/docker")),
    ],
)
def test_addresses_are_read(url: str, expected: Endpoint) -> None:
    assert parse(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "/a/b.sock",
        "unix://",
        "fd://3",
        "tcp://h:x",
        "tcp://h:1/path",
        "tcp://h:99999",
        "ssh://",
        "ssh://-oProxyCommand=x",
        "ssh://a:secret@h",
        "ssh://h:x",
        "ssh://h?x",
    ],
)
def test_bad_addresses_say_what_to_write(url: str) -> None:
    with pytest.raises(UsageProblem, match=r"tcp://|unix://|ssh"):
        parse(url)


def test_addresses_print_as_they_are_written() -> None:
    for url in (
        "ssh://me@[::1]:22",
        "ssh://h/run/d.sock",
        "unix:///a.sock",
        "tcp://[::1]:5",
        "npipe:////./pipe/x",
    ):
        assert str(parse(url)) == url


def test_option_wins_over_wherry_host_over_docker_host() -> None:
    environ = {"WHERRY_HOST": "tcp://w:1", "DOCKER_HOST": "tcp://d:1"}
    assert resolve(Wanted(host="tcp://o:1"), environ).host == "o"
    assert resolve(Wanted(), environ).host == "w"
    assert resolve(Wanted(), {"DOCKER_HOST": "tcp://d:1", "WHERRY_HOST": ""}).host == "d"


@pytest.mark.skipif(sys.platform == "win32", reason="a pipe is looked for only by connecting")
def test_default_machine_tells_what_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHERRY_HOME", str(tmp_path))
    with pytest.raises(NoSuchMachine, match="wherry machine init"):
        resolve(Wanted(), {})
    machine = paths().machine("default")
    machine.folder.mkdir(parents=True)
    machine.record.write_text("{}")
    with pytest.raises(MachineNotRunning, match='machine "default" is stopped; run `wherry machine start`'):
        resolve(Wanted(), {})
    machine.socket.parent.mkdir(parents=True)
    machine.socket.touch()
    assert resolve(Wanted(), {}) == of_machine("default")
    assert resolve(Wanted(), {}).machine == "default"
