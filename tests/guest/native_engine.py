"""A `wherryd` of the tests' own, run natively as root: own roots, socket, bridge, cgroup and image.

Everything it makes carries its name, so that all of it can be found and ended, also after a failure:
processes by its marker in their environment or by its cgroup, mounts by its folder, devices by its bridge.
"""

import contextlib
import http.client
import io
import json
import os
import re
import secrets
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import swagger
from judging_relay import JudgingRelay

#: The API's version where a path names none.
NEWEST = "1.51"
BUSYBOX = Path("/bin/busybox")
IMAGE = "busybox:test"

START_SECONDS = 20.0
STOP_SECONDS = 15.0
CALL_SECONDS = 60.0

_APPLETS = [
    "ash",
    "cat",
    "chmod",
    "chown",
    "cp",
    "cut",
    "date",
    "dd",
    "df",
    "echo",
    "env",
    "false",
    "find",
    "free",
    "grep",
    "head",
    "hostname",
    "id",
    "ifconfig",
    "ip",
    "kill",
    "ln",
    "ls",
    "mkdir",
    "mount",
    "mv",
    "nc",
    "netstat",
    "nproc",
    "od",
    "pidof",
    "ping",
    "printf",
    "ps",
    "pwd",
    "readlink",
    "rm",
    "route",
    "sed",
    "seq",
    "sh",
    "sleep",
    "sort",
    "stat",
    "stty",
    "sync",
    "tail",
    "test",
    "top",
    "touch",
    "tr",
    "true",
    "tty",
    "umount",
    "uname",
    "vi",
    "wc",
    "wget",
    "whoami",
    "xargs",
    "yes",
    "httpd",
    "nslookup",
]

_MARKER = "WHERRY_TEST_ENGINE"


class NativeEngine:
    """`start`, `stop` and `kill` may follow each other in any order; `end` leaves nothing behind."""

    def __init__(self, folder: Path, number: int) -> None:
        self.name = f"wt{secrets.token_hex(3)}"
        self.folder = folder
        self.socket = folder / "api.sock"
        self.data_root = folder / "data"
        self.exec_root = folder / "exec"
        self.log = folder / "wherryd.log"
        self.bridge = self.name
        self.cgroup_parent = f"/{self.name}"
        self.subnet = f"10.{190 + number % 40}.{secrets.randbelow(250)}.1/24"
        #: Given at every start.
        self.options: tuple[str, ...] = ()
        #: What stands before its command: nsenter, for one in namespaces that a test made.
        self.within: tuple[str, ...] = ()
        self._process: subprocess.Popen[bytes] | None = None
        self._relay: JudgingRelay | None = None

    # the process

    def start(self, *extra: str) -> None:
        """Returns when the API answers. Raises AssertionError with the log's tail when it does not."""
        command = [
            *self.within,
            sys.executable, "-m", "wherryd.daemon.main",
            "--host", f"unix://{self.socket}",
            "--data-root", str(self.data_root),
            "--exec-root", str(self.exec_root),
            "--pidfile", str(self.folder / "wherryd.pid"),
            "--bridge", self.bridge, "--bip", self.subnet,
            "--cgroup-parent", self.cgroup_parent,
            "--debug", *self.options, *extra,
        ]  # fmt: skip
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify = self.folder / "notify.sock"
        notify.unlink(missing_ok=True)
        with channel, self.log.open("ab") as log:
            channel.bind(str(notify))
            environment = {**os.environ, _MARKER: self.name, "NOTIFY_SOCKET": str(notify)}
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )
            self._wait_until_ready(channel)

    def _wait_until_ready(self, channel: socket.socket) -> None:
        assert self._process is not None
        channel.settimeout(0.2)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError):
                if channel.recv(256) == b"READY=1":
                    return
            if self._process.poll() is not None:
                raise AssertionError(f"wherryd ended with {self._process.returncode}:\n{self.log_tail()}")
        raise AssertionError(f"wherryd was not ready in {START_SECONDS} s:\n{self.log_tail()}")

    def log_tail(self, lines: int = 60) -> str:
        return (
            "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""
        )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def stop(self) -> int:
        """SIGTERM; its exit status."""
        return self._finish(signal.SIGTERM)

    def kill(self) -> int:
        return self._finish(signal.SIGKILL)

    def _finish(self, signum: int) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(signum)
        try:
            return process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_SECONDS)
            raise AssertionError(f"wherryd did not stop in {STOP_SECONDS} s:\n{self.log_tail()}") from None

    def restart(self) -> None:
        self.stop()
        self.start()

    # calls

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        **query: Any,
    ) -> "Answer":
        """One request. body: bytes as they are, anything else as JSON."""
        sent = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        target = path + (f"?{urlencode(query, doseq=True)}" if query else "")
        connection = UnixConnection(self.socket)
        try:
            connection.request(method, target, body=body, headers=sent)
            response = connection.getresponse()
            answer = Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()
        judge(method, path, sent, answer)
        return answer

    def create(self, *command: str, name: str = "", image: str = IMAGE, **fields: Any) -> str:
        """Creates a container; its id. fields: of the create request; HostConfig as a dict."""
        body = {"Image": image, "Cmd": list(command), **fields}
        query = {"name": name} if name else {}
        answer = self.call("POST", "/containers/create", body, **query)
        assert answer.status == 201, answer.text
        return str(answer.json["Id"])

    def run(self, *command: str, **fields: Any) -> str:
        """Creates and starts; its id."""
        container = self.create(*command, **fields)
        answer = self.call("POST", f"/containers/{container}/start")
        assert answer.status == 204, answer.text
        return container

    def wait(self, container: str, condition: str = "not-running") -> int:
        answer = self.call("POST", f"/containers/{container}/wait", condition=condition)
        assert answer.status == 200, answer.text
        return int(answer.json["StatusCode"])

    def inspect(self, container: str) -> Any:
        answer = self.call("GET", f"/containers/{container}/json")
        assert answer.status == 200, answer.text
        return answer.json

    def remove(self, container: str) -> None:
        answer = self.call("DELETE", f"/containers/{container}", force="1", v="1")
        assert answer.status in (204, 404), answer.text

    def docker(
        self, *arguments: str, stdin: bytes | None = None, timeout: float = CALL_SECONDS
    ) -> subprocess.CompletedProcess[bytes]:
        """The real docker command against this engine."""
        return self.judged(["docker", *arguments], stdin=stdin, timeout=timeout)

    def judged(
        self, command: Sequence[str], *, stdin: bytes | None = None, timeout: float = CALL_SECONDS,
        environment: Mapping[str, str] | None = None, cwd: Path | None = None, stderr: int = subprocess.PIPE,
    ) -> subprocess.CompletedProcess[bytes]:  # fmt: skip
        """A client in a process of its own; what it is answered is judged by the API's description.

        environment: beside docker_environment. Raises AssertionError.
        """
        variables = {**self.docker_environment(), **(environment or {})}
        if self._process is not None:  # one that does not run has words of its own
            if self._relay is None:
                self._relay = JudgingRelay(self.folder / "judged.sock", self.socket, _judge_parts)
            variables["DOCKER_HOST"] = f"unix://{self._relay.path}"
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=variables,
            cwd=cwd,
        )
        with process:
            try:
                output, errors = process.communicate(stdin, timeout)
            except BaseException:
                process.kill()
                raise
        if self._relay is not None:
            found = self._relay.settle(process.pid)
            assert not found, f"{' '.join(command)} was answered: {'; '.join(found)}"
        return subprocess.CompletedProcess(command, process.returncode, output, errors)

    def docker_environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "DOCKER_HOST": f"unix://{self.socket}",
            "DOCKER_CONFIG": str(self.folder / "docker-config"),
            "DOCKER_CLI_HINTS": "false",
        }

    def import_busybox(self, reference: str = IMAGE) -> None:
        name, _, tag = reference.partition(":")
        answer = self.call(
            "POST",
            "/images/create",
            busybox_tar(),
            headers={"Content-Type": "application/x-tar"},
            fromSrc="-",
            repo=name,
            tag=tag,
            changes=['CMD ["sh"]', "ENV FROM_IMAGE=yes"],
        )
        assert answer.status == 200, answer.text
        assert b"errorDetail" not in answer.body, answer.text

    # the end

    def remove_containers(self) -> None:
        answer = self.call("GET", "/containers/json", all="1")
        for container in answer.json:
            self.remove(container["Id"])

    def remove_networks(self) -> None:
        """Those that users made; containers must be gone."""
        for network in self.call("GET", "/networks", filters='{"type": ["custom"]}').json:
            answer = self.call("DELETE", f"/networks/{network['Id']}")
            assert answer.status in (204, 404), answer.text

    def end(self) -> None:
        """Ends and removes everything this engine made, whatever state it is in."""
        if self._relay is not None:
            self._relay.close()
        bridges = self._bridges()
        with contextlib.suppress(OSError, AssertionError):
            self.remove_containers()
            self.remove_networks()
        with contextlib.suppress(AssertionError):
            self.stop()
        for _ in range(50):
            pids = self.processes()
            if not pids:
                break
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        unmount_below(self.folder)
        for bridge in bridges:
            subprocess.run(["ip", "link", "delete", bridge], capture_output=True, check=False)
            for family in ("ip", "ip6"):
                subprocess.run(
                    ["nft", "delete", "table", family, f"wherry_{bridge}"], capture_output=True, check=False
                )
        self._remove_cgroups()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _bridges(self) -> list[str]:
        """Its bridges, from the engine's own records: it may be unable to answer."""
        found = [self.bridge]
        with contextlib.suppress(sqlite3.Error):
            database = sqlite3.connect(f"file:{self.data_root / 'wherry.db'}?mode=ro", uri=True)
            with contextlib.closing(database):
                for network_id, record in database.execute(
                    "SELECT id, record FROM networks WHERE record != ''"
                ):
                    found.append(json.loads(record)["bridge"]["device"] or f"br-{network_id[:12]}")
        return found

    def processes(self) -> list[int]:
        """Pids with our marker in their environment or in one of our cgroups."""
        marker = f"{_MARKER}={self.name}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal() or int(entry.name) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                in_cgroup = f"{self.cgroup_parent}/" in (entry / "cgroup").read_text()
                if in_cgroup or marker in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
        return found

    def _remove_cgroups(self) -> None:
        # Not Path.glob, which fails when another test's cgroup goes while it looks.
        found = [folder for folder, _, _ in os.walk("/sys/fs/cgroup") if f"/{self.name}" in folder]
        for inner in sorted(found, key=lambda folder: folder.count("/"), reverse=True):
            with contextlib.suppress(OSError):
                Path(inner).rmdir()


#: Printed beyond the reference's description on purpose: method, path, status and finding.
_BEYOND = frozenset(
    (
        "GET /version 200: $.Components[0].Details.PythonVersion: not described",
        # For clients of old; dockerd prints them up to 1.51 as well.
        *(f"GET /events 200: $.{key}: not described" for key in ("from", "id", "status")),
        # Up to 1.41; the docker command shows it.
        "GET /system/df 200: $.BuilderSize: not described",
    )
)
_VERSIONED = re.compile(r"/v(\d\.\d+)(/.*)")


def judge(method: str, path: str, sent: Mapping[str, str], answer: "Answer") -> None:
    """Raises AssertionError for an answer that is not as the reference's description says, if we have it.

    sent: header fields of the request.
    """
    match = _VERSIONED.fullmatch(path)
    version, path = match.groups() if match else (NEWEST, path)
    if path.startswith("/images/") and sent.get("User-Agent", "").startswith("docker-compose/1."):
        version = "1.44"  # whatever it asks for: see api/imageversions.py
    if version == "1.50":
        version = "1.51"  # the docker command's; what changed since is a number's meaning, no field
    media_type = answer.headers.get("Content-Type", "")
    if media_type != "application/json" or not swagger.path(version).exists():
        return
    found = swagger.description(version).unfit(method, path, answer.status, answer.body)
    assert not (wrong := sorted(set(found) - _BEYOND)), "\n".join(wrong)


def _judge_parts(
    method: str, path: str, sent: Mapping[str, str], status: int, headers: Mapping[str, str], body: bytes
) -> None:
    judge(method, path, sent, Answer(status, headers, body))


def unmount_below(folder: Path) -> None:
    """All that is mounted there, the innermost first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    targets = [line.split()[4] for line in lines if f"{folder}/" in line.split()[4]]
    for target in sorted(targets, key=len, reverse=True):
        subprocess.run(["umount", "-l", target], capture_output=True, check=False)


class Answer:
    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")

    @property
    def message(self) -> str:
        return str(self.json["message"])


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float = CALL_SECONDS) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def busybox_tar(extra: Iterable[tuple[str, bytes]] = (), *, everything: bool = False) -> bytes:
    """A root file system: busybox, links to it, users, a few folders. everything: all that busybox can."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, mode in (("bin", 0o755), ("etc", 0o755), ("proc", 0o755), ("sys", 0o755), ("dev", 0o755),
                           ("tmp", 0o1777), ("root", 0o700), ("var", 0o755), ("home", 0o755)):  # fmt: skip
            _add(archive, name, mode=mode, kind=tarfile.DIRTYPE)
        _add(archive, "bin/busybox", BUSYBOX.read_bytes(), mode=0o755)
        applets = _APPLETS
        if everything:
            listed = subprocess.run([BUSYBOX, "--list"], check=True, stdout=subprocess.PIPE, text=True)
            applets = [name for name in listed.stdout.split() if name != "busybox"]
        for applet in applets:
            _add(archive, f"bin/{applet}", kind=tarfile.SYMTYPE, target="busybox")
        files = {
            "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:User:/home:/bin/sh\n",
            "etc/group": b"root:x:0:\nuser:x:1000:\nextra:x:2000:user\n",
            **dict(extra),
        }
        for name, content in files.items():
            _add(archive, name, content)
    return buffer.getvalue()


def _add(
    archive: tarfile.TarFile, name: str, content: bytes = b"", *, mode: int = 0o644,
    kind: bytes = tarfile.REGTYPE, target: str = "",
) -> None:  # fmt: skip
    entry = tarfile.TarInfo(name)
    entry.mode, entry.type, entry.linkname, entry.size = mode, kind, target, len(content)
    archive.addfile(entry, io.BytesIO(content))


def path_segment(name: str) -> str:
    return quote(name, safe="")
