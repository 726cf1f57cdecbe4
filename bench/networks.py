"""Networks with wherryd and with dockerd, in one run: throughput, connecting, names, many containers.

Both engines run natively in a network namespace of their own (engines.py), with Debian's iperf3 as the
containers' program. What a client does on the engine's own machine is done in that namespace.
"""

import json
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from bench.api import Api
from bench.engines import commands, docker, engine
from bench.figures import Figure, in_turn, seconds, table

IMAGE = "bench:iperf3"
NETWORK = "bench"
PROGRAM = "/usr/bin/iperf3"
#: An address of the engine's machine beside the loopback, as a neighbour would call it.
HOST_ADDRESS = "10.213.0.1"
PORT, PUBLISHED = 5201, 15201
RUNS = 5
TRANSFER_SECONDS = 2
CONNECTS = 30
LOOKUPS = 300
MANY = 200
_LIBRARY = re.compile(r"(/\S+) \(0x")

#: Run in a container's network namespace: milliseconds of each question to its resolver. argv: name, count.
_LOOK_UP = """
import json, socket, struct, sys, time
name = sys.argv[1].encode()
question = bytes([len(name)]) + name + b"\\0\\0\\1\\0\\1"
asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asker.settimeout(5)
asker.connect(("127.0.0.11", 53))
found = []
for number in range(int(sys.argv[2])):
    began = time.perf_counter()
    asker.send(struct.pack("!6H", number, 0x100, 1, 0, 0, 0) + question)
    answer = asker.recv(512)
    found.append(1000 * (time.perf_counter() - began))
    assert answer[3] & 15 == 0 and answer[6:8] != b"\\0\\0", answer
print(json.dumps(found))
"""


class Side:
    """One engine with two containers, `server` (iperf3, published) and `client`, on one network."""

    def __init__(self, host: str, root: Path) -> None:
        self.host = host
        self.api = Api(Path(host.removeprefix("unix://")))
        docker(host, "import", "-c", "ENV PATH=/bin:/usr/bin", str(root / "image.tar"), IMAGE)
        self.call("POST", "/networks/create", {"Name": NETWORK})
        self.call("POST", "/networks/create", {"Name": f"{NETWORK}-two"})
        self.server = self.run("server", [PROGRAM, "-s"], {f"{PORT}/tcp": [{"HostPort": str(PUBLISHED)}]})
        self.client = self.run("client", ["/bin/sleep", "100000"])
        # dockerd's own namespace: its containers' parents are other processes.
        self.engine_pid = _pid_of(Path(host.removeprefix("unix://")).with_suffix(".pid"))
        enter = ["nsenter", f"--net=/proc/{self.engine_pid}/ns/net"]
        subprocess.run([*enter, "ip", "addr", "add", f"{HOST_ADDRESS}/32", "dev", "lo"], check=True)
        self.enter_host = enter
        self.enter_client = ["nsenter", f"--net=/proc/{self._pid(self.client)}/ns/net"]

    def call(self, method: str, path: str, body: Any = None) -> Any:
        return self.api.call(method, path, body)

    def run(self, name: str, command: list[str], ports: dict[str, Any] | None = None) -> str:
        container = str(
            self.call(
                "POST",
                f"/containers/create?name={name}",
                {
                    "Image": IMAGE,
                    "Cmd": command,
                    "ExposedPorts": {port: {} for port in ports or {}},
                    "HostConfig": {"NetworkMode": NETWORK, "PortBindings": ports or {}},
                },
            )["Id"]
        )
        self.api.start(container)
        return container

    def _pid(self, container: str) -> int:
        return int(self.call("GET", f"/containers/{container}/json")["State"]["Pid"])

    def between_containers(self) -> float:
        shown = self.call("GET", f"/containers/{self.server}/json")
        address = shown["NetworkSettings"]["Networks"][NETWORK]["IPAddress"]
        return _gigabits(self.enter_client, address, PORT)

    def published(self, address: str) -> float:
        return _gigabits(self.enter_host, address, PUBLISHED)

    def connect(self) -> float:
        """Milliseconds of a connect and the disconnect behind it."""
        path, body = f"/networks/{NETWORK}-two", {"Container": self.client}
        took = seconds(lambda: self.call("POST", f"{path}/connect", body))
        took += seconds(lambda: self.call("POST", f"{path}/disconnect", body))
        return 1000 * took

    def look_up(self, count: int = LOOKUPS) -> tuple[float, ...]:
        command = [*self.enter_client, sys.executable, "-c", _LOOK_UP, "server", str(count)]
        done = subprocess.run(command, check=True, capture_output=True)
        return tuple(json.loads(done.stdout))

    def many(self) -> float:
        """Milliseconds per container, created and started."""
        self.api.close()  # the engine has hung up while the other one worked; a call dials again
        took = seconds(lambda: [self.run(f"many{n}", ["/bin/sleep", "100000"]) for n in range(MANY)])
        return 1000 * took / MANY

    def fewer(self) -> float:
        """Milliseconds per container, removed."""
        self.api.close()
        took = seconds(
            lambda: [self.call("DELETE", f"/containers/many{number}?force=1") for number in range(MANY)]
        )
        return 1000 * took / MANY

    def clear(self) -> None:
        self.api.close()
        for container in (self.server, self.client):
            self.call("DELETE", f"/containers/{container}?force=1")


def _pid_of(file: Path) -> int:
    return int(file.read_text())


def _gigabits(enter: list[str], address: str, port: int) -> float:
    """Gbit/s of one connection, as its receiver counts them."""
    command = [*enter, PROGRAM, "-c", address, "-p", str(port), "-t", str(TRANSFER_SECONDS), "-J"]
    done = subprocess.run(command, check=True, capture_output=True)
    return float(json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"]) / 1e9


def image_tar(path: Path) -> None:
    """A root file system of iperf3, the libraries it names, and busybox's sleep."""
    shown = subprocess.run(["ldd", PROGRAM], check=True, stdout=subprocess.PIPE, text=True)
    with tarfile.open(path, "w", dereference=True) as archive:
        archive.add(PROGRAM, PROGRAM.lstrip("/"))
        for library in _LIBRARY.findall(shown.stdout):
            archive.add(library, library.lstrip("/"))
        archive.add("/bin/busybox", "bin/busybox")
        link = tarfile.TarInfo("bin/sleep")
        link.type, link.linkname = tarfile.SYMTYPE, "busybox"
        archive.addfile(link)
        folder = tarfile.TarInfo("tmp")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
        archive.addfile(folder)


@contextmanager
def _sides() -> Iterator[tuple[Side, Side]]:
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wherry-bench-")))
        image_tar(root / "image.tar")
        hosts = [
            stack.enter_context(engine(command, root / f"{name}.sock"))
            for name, command in commands(root).items()
        ]
        ours, theirs = (Side(host, root) for host in hosts)
        stack.callback(theirs.clear)
        stack.callback(ours.clear)
        yield ours, theirs


def report() -> str:
    """The section of docs/benchmarks.md. Needs root, dockerd, iperf3 and busybox-static."""
    rows: list[list[object]] = []

    def compare(title: str, unit: str, samples: list[tuple[float, ...]], *, rate: bool = False) -> None:
        ours, theirs = (Figure(each, unit) for each in samples)
        times = ours.median / theirs.median if rate else theirs.median / ours.median
        rows.append([title, ours, theirs, f"{times:.1f}"])

    with _sides() as sides:
        for title, measure in (
            ("iperf3, container to container", Side.between_containers),
            ("iperf3, published port by 127.0.0.1", partial(Side.published, address="127.0.0.1")),
            ("iperf3, published port by the host's address", partial(Side.published, address=HOST_ADDRESS)),
        ):
            compare(title, "Gbit/s", in_turn([partial(measure, side) for side in sides], RUNS), rate=True)
        compare("connect and disconnect", "ms", in_turn([side.connect for side in sides], CONNECTS))
        compare("name look-up", "ms", [side.look_up() for side in sides])
        compare(f"{MANY} containers on one network: each start", "ms", [(side.many(),) for side in sides])
        compare("name look-up among them", "ms", [side.look_up() for side in sides])
        compare("each removal", "ms", [(side.fewer(),) for side in sides])
    rival = subprocess.run(["dockerd", "--version"], check=True, stdout=subprocess.PIPE, text=True)
    return (
        "## Networks\n\n"
        f"{RUNS} transfers of {TRANSFER_SECONDS} s, {CONNECTS} connects, {LOOKUPS} look-ups each, transfers "
        f"and connects in turn, median (smallest to largest). {rival.stdout.strip()}. The last column says "
        "how many times better wherryd is.\n\n" + table(["", "wherryd", "dockerd", "times"], rows)
    )
