"""The API on TCP behind TLS: who is served, and that streams end in each direction alone, as without TLS."""

import http.client
import json
import os
import socket
import ssl
import subprocess
from pathlib import Path

import certificates
import pytest
from native_engine import IMAGE, NativeEngine

from wherryd.daemon import tlsoptions
from wherryd.daemon.options import parse
from wherryd.daemon.sockets import listen
from wherryd.errors import InvalidParameter

pytestmark = pytest.mark.root


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> certificates.Certificates:
    return certificates.make(tmp_path_factory.mktemp("certs"))


def options(certs: certificates.Certificates) -> list[str]:
    return [
        "--tlsverify",
        *("--tlscacert", certs["ca.pem"]),
        *("--tlscert", certs["server.pem"], "--tlskey", certs["server-key.pem"]),
    ]


@pytest.fixture
def served(fresh_engine: NativeEngine, certs: certificates.Certificates) -> tuple[NativeEngine, int]:
    """An engine that listens on TCP too, and its port."""
    port = free_port()
    fresh_engine.stop()
    fresh_engine.start("--host", f"tcp://127.0.0.1:{port}", *options(certs))
    return fresh_engine, port


def docker(
    certs: certificates.Certificates, port: int, *arguments: str, stdin: bytes = b""
) -> "subprocess.CompletedProcess[bytes]":
    environment = {key: value for key, value in os.environ.items() if not key.startswith("DOCKER_")}
    command = ["docker", "-H", f"tcp://127.0.0.1:{port}", "--tlsverify"]
    command += ["--tlscacert", certs["ca.pem"], "--tlscert", certs["cert.pem"], "--tlskey", certs["key.pem"]]
    return subprocess.run(
        [*command, *arguments],
        input=stdin,
        capture_output=True,
        timeout=60,
        check=False,
        env={**environment, "DOCKER_CONFIG": certs["config"]},
    )


def test_docker_runs_containers_and_output_goes_on_after_the_end_of_input(
    served: tuple[NativeEngine, int], certs: certificates.Certificates, docker_cli: str
) -> None:
    _, port = served
    # docker ends its input with close_notify, and reads on.
    script = "cat; sleep 0.5; seq 1 100000; exit 7"
    done = docker(certs, port, "run", "--rm", "-i", IMAGE, "sh", "-c", script, stdin=b"in\n")
    assert done.returncode == 7, done.stderr
    assert done.stdout == b"in\n" + b"".join(b"%d\n" % number for number in range(1, 100001))
    assert docker(certs, port, "ps", "-aq").stdout == b""


def test_large_uploads_and_answers_are_whole(
    served: tuple[NativeEngine, int], certs: certificates.Certificates, docker_cli: str, tmp_path: Path
) -> None:
    engine, port = served
    container = engine.run("sleep", "60")
    content = os.urandom(20_000_000)
    (tmp_path / "sent").write_bytes(content)
    assert docker(certs, port, "cp", str(tmp_path / "sent"), f"{container}:/tmp/there").returncode == 0
    assert docker(certs, port, "cp", f"{container}:/tmp/there", str(tmp_path / "back")).returncode == 0
    assert (tmp_path / "back").read_bytes() == content


def test_who_has_no_certificate_is_not_served(
    served: tuple[NativeEngine, int], certs: certificates.Certificates
) -> None:
    engine, port = served
    context = ssl.create_default_context(cafile=certs["ca.pem"])
    stranger = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=20)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        stranger.request("GET", "/info")
        stranger.getresponse()
    stranger.close()
    # Without TLS at all.
    plain = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        plain.request("GET", "/info")
        plain.getresponse()
    plain.close()
    context.load_cert_chain(certs["cert.pem"], certs["key.pem"])
    known = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=20)
    for _ in range(2):
        known.request("GET", "/info")
        assert json.loads(known.getresponse().read())["OSType"] == "linux"
    known.close()
    assert "Traceback" not in engine.log.read_text()


def test_files_that_are_missing_or_wrong_are_named(certs: certificates.Certificates, tmp_path: Path) -> None:
    def context(*changed: str) -> None:
        found = parse([*options(certs), *changed]).tls
        assert found is not None
        tlsoptions.context_of(found)

    context()
    with pytest.raises(InvalidParameter, match=r"--tlskey .*/none: there is no such file"):
        context("--tlskey", str(tmp_path / "none"))
    with pytest.raises(InvalidParameter, match="--tlscert"):
        context("--tlscert", certs["ca.pem"])
    (tmp_path / "text").write_text("no certificate")
    with pytest.raises(InvalidParameter, match="--tlscacert"):
        context("--tlscacert", str(tmp_path / "text"))


def test_other_addresses_than_loopback_want_clients_with_certificates() -> None:
    with pytest.raises(InvalidParameter, match="without --tlsverify"):
        listen(["tcp://0.0.0.0:2375"], "")
    assert parse([]).tls is None
    assert parse(["--tls"]).tls.verify is False
    (listener,) = listen([f"tcp://0.0.0.0:{free_port()}"], "", is_verified=True)
    listener.close()
