"""The tunnel against a real sshd on loopback."""

import hashlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from machine_standins import Sshd, echo, fake_engine, needs_sshd, running_sshd, unix_server, wait_for

from wherry.errors import TunnelProblem
from wherry.tunnel import http
from wherry.tunnel.dial import GuestCommandProblem, Tunnel, dial

pytestmark = needs_sshd


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("sshd")) as found:
        yield found


@pytest.fixture
def tunnel(sshd: Sshd) -> Iterator[Tunnel]:
    found = dial(sshd.target)
    yield found
    found.close()


def test_the_cipher_is_aes_gcm(tunnel: Tunnel) -> None:
    assert tunnel.cipher == "aes128-gcm@openssh.com"


def test_another_host_key_is_refused_before_we_authenticate(sshd: Sshd) -> None:
    log = sshd.folder / "sshd.log"
    before = log.stat().st_size
    stranger = replace(sshd.target, host_key="SHA256:" + "A" * 43)
    with pytest.raises(TunnelProblem, match="proves the host key"):
        dial(stranger)
    wait_for(lambda: b"preauth" in log.read_bytes()[before:])
    assert b"Accepted" not in log.read_bytes()[before:]


def test_a_port_where_nobody_listens_is_a_tunnel_problem(sshd: Sshd) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(TunnelProblem, match="cannot be dialled"):
            dial(replace(sshd.target, port=unused.getsockname()[1]))


def test_a_socket_of_the_guest_carries_bytes_both_ways_unchanged(tunnel: Tunnel, tmp_path: Path) -> None:
    payload = os.urandom(6 * 1024 * 1024)
    with unix_server(tmp_path / "s", echo):
        channel = tunnel.open_socket(str(tmp_path / "s"))

        def send() -> None:
            channel.sendall(payload)
            channel.shutdown_write()

        sender = threading.Thread(target=send)
        sender.start()
        got = b""
        channel.settimeout(20)
        while data := channel.recv(1 << 20):
            got += data
        sender.join()
        channel.close()
    assert hashlib.sha256(got[:-5]).digest() == hashlib.sha256(payload).digest()
    assert got[-5:] == b"<end>", "the far side saw our end of file and could still answer"


def test_a_socket_that_is_not_there_is_refused_at_once(tunnel: Tunnel, tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(TunnelProblem, match="nothing answers on"):
        tunnel.open_socket(str(tmp_path / "missing"))
    assert time.monotonic() - began < 5
    assert tunnel.alive, "one refusal does not end the connection"


def test_a_guest_that_says_a_word_and_hangs_up_is_still_heard(tunnel: Tunnel, tmp_path: Path) -> None:
    def brief(connection: socket.socket) -> None:
        connection.sendall(b"bye")

    with unix_server(tmp_path / "s", brief):
        for _ in range(20):
            channel = tunnel.open_socket(str(tmp_path / "s"))
            channel.settimeout(10)
            assert channel.recv(10) == b"bye"
            channel.close()


def test_a_tcp_port_of_the_guest_can_be_reached(tunnel: Tunnel) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        channel = tunnel.open_tcp(server.getsockname()[1])
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"hello")
        channel.settimeout(10)
        assert channel.recv(10) == b"hello"
        channel.close()


def test_small_messages_are_not_held_back_by_nagle(tunnel: Tunnel) -> None:
    """A delayed acknowledgement would cost 40 ms for each."""
    assert tunnel._transport.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_command_gives_its_output(tunnel: Tunnel) -> None:
    assert tunnel.run("echo hello", timeout_seconds=20) == "hello\n"


def test_a_failed_command_is_a_problem_with_its_words(tunnel: Tunnel) -> None:
    with pytest.raises(GuestCommandProblem, match=r"ended with 3: sorry"):
        tunnel.run("echo sorry >&2; exit 3", timeout_seconds=20)


def test_a_command_that_hangs_is_given_up(tunnel: Tunnel) -> None:
    with pytest.raises(TunnelProblem, match="did not answer in"):
        tunnel.run("sleep 30", timeout_seconds=0.5)


def test_http_runs_over_a_channel(tunnel: Tunnel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wherry.tunnel.dial.ENGINE_SOCKET", str(tmp_path / "engine"))
    with fake_engine(tmp_path / "engine") as engine:
        engine.containers.append({"Id": "abc", "Ports": []})
        assert http.get_json(tunnel, "/containers/json", timeout_seconds=10) == [{"Id": "abc", "Ports": []}]
        http.ping(tunnel, timeout_seconds=10)


def test_the_end_of_the_connection_is_noticed(sshd: Sshd, tunnel: Tunnel) -> None:
    assert not tunnel.wait_closed(0.01)
    for pid in sshd.connections():
        os.kill(pid, 9)
    assert tunnel.wait_closed(10)
    assert not tunnel.alive
    with pytest.raises(TunnelProblem):
        tunnel.open_engine()
