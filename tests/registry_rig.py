"""Debian's docker-registry on loopback, with a configuration, a folder and a port of its own; and skopeo."""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bcrypt
import pytest

START_SECONDS = 20.0
TOOL_SECONDS = 120.0
USER, PASSWORD = "captain", "hunter2 ünïcode"


@dataclass(frozen=True, slots=True)
class RealRegistry:
    """folder: where it keeps what it is given."""

    host: str
    folder: Path
    log: Path

    def blobs(self) -> set[str]:
        return {path.parent.name for path in self.folder.glob("docker/registry/v2/blobs/sha256/*/*/data")}

    def skopeo(self, *arguments: str, login: bool = False) -> str:
        """Runs skopeo; it must succeed. `{}` in arguments is the registry's address."""
        words = [argument.format(self.host) for argument in arguments]
        if login:
            words[1:1] = [f"--{'dest-' if words[0] == 'copy' else ''}creds={USER}:{PASSWORD}"]
        done = subprocess.run(
            ["skopeo", "--insecure-policy", *words], capture_output=True, timeout=TOOL_SECONDS, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def manifest(self, name: str) -> tuple[str, dict[str, Any]]:
        """(digest, document) of name:tag, as the registry says."""
        path, _, tag = name.rpartition(":")
        accept = ", ".join(
            f"application/vnd.{kind}+json"
            for kind in (
                "docker.distribution.manifest.v2",
                "docker.distribution.manifest.list.v2",
                "oci.image.manifest.v1",
                "oci.image.index.v1",
            )
        )
        request = urllib.request.Request(
            f"http://{self.host}/v2/{path}/manifests/{tag}", headers={"Accept": accept}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return answer.headers["Docker-Content-Digest"], json.loads(answer.read())


@dataclass(frozen=True, slots=True)
class Authority:
    """A private CA and one server's certificate by it: PEM files."""

    ca: Path
    certificate: Path
    key: Path


def private_authority(folder: Path, address: str) -> Authority:
    """address: IP address that the certificate is for."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "extensions").write_text(f"subjectAltName=IP:{address}\n")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    steps = (
        ["req", "-x509", *key, "-days", "2", "-subj", "/CN=tests", "-keyout", "ca.key", "-out", "ca.crt"],
        ["req", *key, "-subj", "/CN=registry", "-keyout", "server.key", "-out", "server.csr"],
        ["x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
         "-days", "2", "-extfile", "extensions", "-out", "server.crt"],
    )  # fmt: skip
    for step in steps:
        subprocess.run(["openssl", *step], cwd=folder, check=True, capture_output=True)
    return Authority(folder / "ca.crt", folder / "server.crt", folder / "server.key")


@contextmanager
def real_registry(
    folder: Path,
    *,
    auth: bool = False,
    address: str = "",
    authority: Authority | None = None,
    within: Sequence[str] = (),
) -> Iterator[RealRegistry]:
    """address: IP and port, a free one of loopback without. authority: it speaks TLS with that certificate.
    within: what stands before its command, for namespaces of a test's own."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("needs Debian's docker-registry (scripts/setup.sh dev)")
    folder.mkdir(parents=True, exist_ok=True)
    host = address or f"127.0.0.1:{free_port()}"
    config: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "info"},
        "storage": {
            "filesystem": {"rootdirectory": str(folder / "store")},
            "delete": {"enabled": True},
        },
        "http": {"addr": host, "secret": "only-for-tests"},
    }
    if auth:
        hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4, b"2a")).decode()
        (folder / "htpasswd").write_text(f"{USER}:{hashed}\n")
        config["auth"] = {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}
    if authority is not None:
        config["http"]["tls"] = {"certificate": str(authority.certificate), "key": str(authority.key)}
    (folder / "config.yml").write_text(json.dumps(config))  # JSON is YAML
    log = folder / "registry.log"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("REGISTRY_")}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*within, program, "serve", str(folder / "config.yml")],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={**environment, "OTEL_TRACES_EXPORTER": "none"},
        )
    try:
        _wait(process, host, log)
        yield RealRegistry(host, folder / "store", log)
    finally:
        process.kill()
        process.wait(10)


def _wait(process: "subprocess.Popen[bytes]", host: str, log: Path) -> None:
    """By its log: it may be in a network that cannot be reached from here."""
    deadline = time.monotonic() + START_SECONDS
    while f"listening on {host}" not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, f"docker-registry does not listen at {host}:\n{log.read_text()}"
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
