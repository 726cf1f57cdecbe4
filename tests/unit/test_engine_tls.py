"""An engine on TCP with TLS: who is believed, what the options mean, and the half-close that attach needs."""

import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import certificates
import pytest
from certificates import Certificates
from cli_call import wherry
from cli_fake_engine import Answer, fake_engine

from wherry.engine.dial import dial
from wherry.engine.endpoint import Tls, Wanted, parse, resolve
from wherry.errors import EngineProblem, UsageProblem


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates.make(tmp_path_factory.mktemp("certs"))


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WHERRY_HOST", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS", "DOCKER_TLS_VERIFY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("DOCKER_CERT_PATH", raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))


def options(certs: Certificates) -> list[str]:
    return ["--tlscacert", certs["ca.pem"], "--tlscert", certs["cert.pem"], "--tlskey", certs["key.pem"]]


def test_both_sides_prove_who_they_are(
    certs: Certificates, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with fake_engine(certs.server()) as engine:
        engine.on("GET", "/containers/json", Answer(200, [{"Id": "a" * 64, "Names": ["/db"], "Created": 1}]))
        given = ["-H", engine.url, "--tlsverify", *options(certs), "ps", "--format", "{{.Names}}"]
        assert wherry(monkeypatch, capfd, *given) == (0, "db\n", "")
        monkeypatch.setenv("DOCKER_HOST", engine.url)
        monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
        monkeypatch.setenv("DOCKER_CERT_PATH", str(certs.folder))
        assert wherry(monkeypatch, capfd, "ps", "--format", "{{.Names}}") == (0, "db\n", "")


def test_an_engine_that_nobody_vouches_for_is_not_believed(
    certs: Certificates, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    other = certificates.make(tmp_path / "other")
    with fake_engine(certs.server(ask_client=False)) as engine:
        given = ["-H", engine.url, "--tlsverify", "--tlscacert", other["ca.pem"], "ps"]
        status, _, err = wherry(monkeypatch, capfd, *given)
        assert (status, "unable to get local issuer certificate" in err) == (1, True), err
        assert engine.requests == []
        # Its certificate is for 127.0.0.1.
        url = engine.url.replace("127.0.0.1", "localhost")
        status, _, err = wherry(monkeypatch, capfd, "-H", url, "--tlsverify", *options(certs), "ps")
        assert (status, "localhost" in err) == (1, True), err
        engine.on("GET", "/containers/json", Answer(200, []))
        assert wherry(monkeypatch, capfd, "-H", engine.url, "--tls", "ps", "-q") == (0, "", "")


def test_a_client_without_a_certificate_is_told_so(
    certs: Certificates, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with fake_engine(certs.server()) as engine:
        given = ["-H", engine.url, "--tlsverify", "--tlscacert", certs["ca.pem"], "ps"]
        status, out, err = wherry(monkeypatch, capfd, *given)
    assert (status, out) == (1, "")
    assert "the connection to the engine broke" in err
    assert "--tlscert" in err


def test_an_engine_without_tls_is_told_from_one_with_it(
    certs: Certificates, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        status, _, err = wherry(monkeypatch, capfd, "-H", url, "--tlsverify", *options(certs), "ps")
        thread.join(10)
    assert (status, "cannot connect to the engine" in err) == (1, True)


@pytest.mark.parametrize(
    ("wanted", "environ", "expected"),
    [
        (Wanted(), {}, None),
        (Wanted(tls=True), {}, (False, "")),
        (Wanted(), {"DOCKER_TLS": "1"}, (False, "")),
        (Wanted(tls_verify=True), {}, (True, "")),
        (Wanted(tls_verify=False), {}, (False, "")),
        (Wanted(), {"DOCKER_TLS_VERIFY": "1"}, (True, "")),
        (Wanted(tls_verify=False), {"DOCKER_TLS_VERIFY": "1"}, (False, "")),
        (Wanted(tls_verify=True), {"DOCKER_CERT_PATH": "CERTS"}, (True, "cert.pem")),
    ],
)
def test_options_mean_what_they_mean_to_docker(
    certs: Certificates,
    wanted: Wanted,
    environ: dict[str, str],
    expected: tuple[bool, str] | None,
) -> None:
    environ = {name: value.replace("CERTS", str(certs.folder)) for name, value in environ.items()}
    found = resolve(wanted, {"DOCKER_HOST": "tcp://h", **environ})
    if expected is None:
        assert (found.tls, found.port) == (None, 2375)
        return
    assert found.port == 2376
    assert found.tls is not None
    assert (found.tls.verify, os.path.basename(found.tls.cert)) == expected  # noqa: PTH119 - a string


def test_bad_files_are_named(certs: Certificates, tmp_path: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    with fake_engine(certs.server()) as engine:
        for tls in (
            Tls(verify=True, ca=str(tmp_path / "nope.pem")),
            Tls(verify=True, ca=str(broken)),
            Tls(verify=False, cert=certs["cert.pem"]),
            Tls(verify=False, cert=certs["cert.pem"], key=certs["server-key.pem"]),
        ):
            with pytest.raises(UsageProblem, match=r"--tls"):
                dial(parse(engine.url, tls))
    with pytest.raises(UsageProblem, match="TLS is for engines on TCP"):
        resolve(Wanted(host="unix:///x", tls_verify=True), {})
    with pytest.raises(UsageProblem, match="--tlsverify"):
        parse("https://h:1")


@contextlib.contextmanager
def served(context: ssl.SSLContext, serve: object) -> Iterator[str]:
    """One connection, handled in a thread."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            connection, _ = listener.accept()
            with context.wrap_socket(connection, server_side=True) as secured:
                serve(secured)  # type: ignore[operator]

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(10)
        assert not thread.is_alive()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_output_goes_on_after_the_end_of_input(certs: Certificates, version: ssl.TLSVersion) -> None:
    context = certs.server()
    context.minimum_version = context.maximum_version = version
    early = b"early" * 100_000

    def serve(secured: ssl.SSLSocket) -> None:
        secured.sendall(early)  # before the client has read anything
        received = b""
        while data := secured.recv(65536):
            received += data
        secured.sendall(b"got %d" % len(received))

    sent = os.urandom(3_000_000)
    tls = Tls(verify=True, ca=certs["ca.pem"], cert=certs["cert.pem"], key=certs["key.pem"])
    with served(context, serve) as url:
        connection = dial(parse(url, tls))
        received: list[bytes] = []
        reader = threading.Thread(
            target=lambda: received.extend(iter(lambda: connection.recv(65536), b"")), daemon=True
        )
        reader.start()
        connection.sendall(sent)
        connection.close_write()
        reader.join(30)
        assert not reader.is_alive()
        connection.close()
        connection.close()
    assert b"".join(received) == early + b"got %d" % len(sent)


def test_what_was_sent_before_the_end_of_input_is_read_after_it(certs: Certificates) -> None:
    here = threading.Event()

    def serve(secured: ssl.SSLSocket) -> None:
        secured.sendall(b"before")
        here.set()
        assert secured.recv(1) == b""
        secured.sendall(b" after")

    with served(certs.server(ask_client=False), serve) as url:
        connection = dial(parse(url, Tls(verify=True, ca=certs["ca.pem"])))
        assert here.wait(10)
        assert connection.recv(3) == b"bef"
        assert not connection.is_quiet()
        connection.close_write()
        assert b"".join(iter(lambda: connection.recv(4), b"")) == b"ore after"
        connection.close()


def test_nobody_there_is_said(certs: Certificates) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(EngineProblem, match="connection refused"):
        dial(parse(f"tcp://127.0.0.1:{port}", Tls(verify=True, ca=certs["ca.pem"])))
