"""The daemon's options, sockets, locks and its word to systemd."""

import json
import os
import socket
import stat
from pathlib import Path

import pytest

from wherryd.daemon.locks import hold
from wherryd.daemon.notify import notify
from wherryd.daemon.options import parse
from wherryd.daemon.sockets import listen
from wherryd.errors import Conflict, InvalidParameter, SystemFault


def test_file_in_the_data_root_is_read_unless_another_is_named(tmp_path: Path) -> None:
    (tmp_path / "wherryd.json").write_text('{"registry-mirrors": ["https://m.example"], "bridge": "filed"}')
    options = parse(["--data-root", str(tmp_path)])
    assert (options.registry_mirrors, options.network.bridge.device) == (("https://m.example",), "filed")
    other = tmp_path / "other.json"
    other.write_text("{}")
    assert parse(["--data-root", str(tmp_path), "--config-file", str(other)]).registry_mirrors == ()
    (tmp_path / "wherryd.json").write_text('{"data-root": "/elsewhere"}')
    with pytest.raises(InvalidParameter, match="cannot name another"):
        parse(["--data-root", str(tmp_path)])


def test_defaults_are_the_designs() -> None:
    options = parse([])
    assert options.hosts == ("unix:///run/wherryd.sock",)
    assert (str(options.data_root), str(options.exec_root)) == ("/var/lib/wherry", "/run/wherry")
    assert (options.network.bridge.device, options.group, options.cgroup_parent) == (
        "wherry0",
        "wherry",
        "/wherry",
    )


def test_the_command_line_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "daemon.json"
    file.write_text(json.dumps({"bridge": "filed", "hosts": ["unix:///a", "unix:///b"], "debug": True}))
    options = parse(["--config-file", str(file), "--bridge", "typed"])
    assert (options.network.bridge.device, options.hosts, options.debug) == (
        "typed",
        ("unix:///a", "unix:///b"),
        True,
    )


@pytest.mark.parametrize("content", ["{", "[]", '{"colour": 1}', '{"bridge": 1}', '{"debug": "yes"}'])
def test_a_bad_file_is_refused_by_name(tmp_path: Path, content: str) -> None:
    file = tmp_path / "daemon.json"
    file.write_text(content)
    with pytest.raises(InvalidParameter, match=r"daemon\.json"):
        parse(["--config-file", str(file)])


@pytest.mark.parametrize(
    "arguments",
    [["--bip", "nowhere"], ["--dns", "name"], ["--storage-driver", "zfs"], ["--add-runtime", "a=b"],
     ["--cgroup-parent", "relative"]],
)  # fmt: skip
def test_a_bad_option_is_refused(arguments: list[str]) -> None:
    with pytest.raises(InvalidParameter):
        parse(arguments)


def test_a_unix_socket_is_for_its_group_only(tmp_path: Path) -> None:
    path = tmp_path / "s"
    (listener,) = listen([f"unix://{path}"], "no-such-group-here")
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    with pytest.raises(SystemFault, match="another engine answers"):
        listen([f"unix://{path}"], "")
    listener.close()
    # What a killed engine left behind is taken over.
    (again,) = listen([f"unix://{path}"], "")
    again.close()


def test_a_file_in_the_sockets_place_stays(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("precious")
    with pytest.raises(InvalidParameter, match="not a socket"):
        listen([f"unix://{path}"], "")
    assert path.read_text() == "precious"


@pytest.mark.parametrize(
    "host", ["tcp://0.0.0.0:1", "tcp://example.org:1", "tcp://127.0.0.1", "http://x", "unix://rel", "fd://"]
)
def test_other_places_are_refused(host: str) -> None:
    with pytest.raises(InvalidParameter):
        listen([host], "")


def test_sockets_of_systemd_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_PID", str(os.getpid() + 1))
    monkeypatch.setenv("LISTEN_FDS", "1")
    (own,) = listen([f"unix://{tmp_path}/s"], "")  # they were meant for another process
    assert own.getsockname() == f"{tmp_path}/s" or own.getsockname().startswith(f"{tmp_path}/")
    own.close()


def test_loopback_tcp_is_allowed() -> None:
    (listener,) = listen(["tcp://127.0.0.1:0".replace(":0", f":{_free_port()}")], "")
    assert listener.getsockname()[0] == "127.0.0.1"
    listener.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_root_is_for_one_engine(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with hold(lock), pytest.raises(Conflict, match="another wherryd uses"), hold(lock):
        pass
    with hold(lock):
        pass


def test_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "n"))
        manager.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "n"))
        notify("READY=1")
        assert manager.recv(100) == b"READY=1"
    notify("STOPPING=1")  # nobody listens any more: no reason to fail


def test_runtimes_come_from_the_command_line_and_the_file(tmp_path: Path) -> None:
    program = tmp_path / "crun"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    file = tmp_path / "daemon.json"
    entry = {"path": str(program), "runtimeArgs": ["--debug"]}
    file.write_text(json.dumps({"runtimes": {"mine": entry}, "default-runtime": "mine"}))
    found = parse(["--config-file", str(file), "--add-runtime", f"crun={program}"]).runtimes
    assert list(found.items()) == [
        ("mine", (str(program), "--debug")),
        ("wherry-runc", ()),
        ("crun", (str(program),)),
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--add-runtime", "x=/nosuch"], "no program"),
        (["--add-runtime", "wherry-runc=/bin/sh"], "reserved"),
        (["--default-runtime", "x"], "specified default runtime 'x' does not exist"),
    ],
)
def test_a_runtime_that_cannot_be_is_refused(arguments: list[str], words: str) -> None:
    with pytest.raises(InvalidParameter, match=words):
        parse(arguments)
