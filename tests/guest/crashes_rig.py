"""Work for an engine that is about to be killed, and what must hold when it is back.

Each worker has names of its own, and knows of each whether it must be there, must not, or was under way:
what the engine has answered must hold, and everything that is listed must be whole.
"""

import hashlib
import http.client
import io
import json
import random
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Callable

from images_rig import archive, directory, entry, saved
from indexes_rig import Publisher, tar_of
from native_engine import NativeEngine
from registry_rig import RealRegistry

from wherryd.daemon.audit import Report, audit

WORKERS = 3
PLATFORMS = ("linux/amd64", "linux/arm64")
_BROKEN = (OSError, http.client.HTTPException, ValueError)


class Refused(Exception):  # noqa: N818 - named for what happened
    """The engine answered with an error, which is an answer too."""


class Workload:
    """pulled: a name in a registry. index: another one, that stands for an image of each of PLATFORMS.
    Threads work until `stopped`, or until the engine does not answer."""

    def __init__(self, engine: NativeEngine, pulled: str, index: str, seed: int) -> None:
        self.engine = engine
        self.pulled = pulled
        self.index = index
        self.seed = seed
        self.done: Counter[str] = Counter()
        self.expected: dict[str, bool | None] = {}
        self.unexpected: list[str] = []
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        self._threads = [
            threading.Thread(target=self._work, args=(number,), daemon=True) for number in range(WORKERS)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()

    def _work(self, worker: int) -> None:
        chance = random.Random(self.seed * 1000 + worker)  # noqa: S311 - no secret
        steps: list[Callable[[int, random.Random], None]] = [
            self._pull, self._pull_index, self._rm_platform, self._load, self._load, self._build,
            self._commit, self._rmi, self._rmi, self._prune,
        ]  # fmt: skip
        while not self._stop.is_set():
            step = chance.choice(steps)
            try:
                step(worker, chance)
                self.done[step.__name__.strip("_")] += 1
            except Refused as exc:
                self.unexpected.append(f"{step.__name__}: {exc}")
                return
            except _BROKEN:
                return  # it was killed

    # steps

    def _call(
        self, method: str, path: str, body: object = None, also: tuple[int, ...] = (), **query: str
    ) -> int:
        answer = self.engine.call(method, path, body, **query)
        if answer.status not in (200, 201, 204, *also) or b"errorDetail" in answer.body:
            raise Refused(f"{method} {path} {query}: {answer.status} {answer.text[-300:]}")
        return answer.status

    def _pull(self, worker: int, _chance: random.Random) -> None:
        repository, _, tag = self.pulled.rpartition(":")
        with self._changing(self.pulled, shared=True):
            self._call("POST", "/images/create", fromImage=repository, tag=tag)

    def _pull_index(self, _worker: int, chance: random.Random) -> None:
        repository, _, tag = self.index.rpartition(":")
        with self._changing(self.index, shared=True):
            platform = chance.choice(PLATFORMS)
            self._call("POST", "/images/create", fromImage=repository, tag=tag, platform=platform)

    def _rm_platform(self, _worker: int, chance: random.Random) -> None:
        """It may not be here, or be another worker's already."""
        platform = dict(zip(("os", "architecture"), chance.choice(PLATFORMS).split("/"), strict=True))
        with self._changing(self.index, shared=True):
            path = f"/images/{self.index}"
            self._call("DELETE", path, also=(404, 409), platforms=json.dumps(platform))

    def _load(self, worker: int, chance: random.Random) -> None:
        name = f"loaded-{worker}:{chance.randrange(3)}"
        with self._changing(name, True):
            self._call("POST", "/images/load", image_archive(name, chance.randrange(4)))

    def _build(self, worker: int, chance: random.Random) -> None:
        name = f"built-{worker}:{chance.randrange(2)}"
        context = io.BytesIO()
        with tarfile.open(fileobj=context, mode="w") as out:
            for member, data in (
                ("Dockerfile", b"FROM scratch\nCOPY a /a\nCOPY b /b\n"),
                ("a", b"the same"),
                ("b", chance.randbytes(30_000)),
            ):
                info = tarfile.TarInfo(member)
                info.size = len(data)
                out.addfile(info, io.BytesIO(data))
        with self._changing(name, True):
            self._call("POST", "/build", context.getvalue(), t=name)

    def _commit(self, worker: int, chance: random.Random) -> None:
        """Of a container that never ran. Where the engine has no commit yet, nothing."""
        base, name = f"base-{worker}:1", f"committed-{worker}:{chance.randrange(2)}"
        with self._changing(base, True):
            self._call("POST", "/images/load", image_archive(base, 1))
        created = self.engine.call("POST", "/containers/create", {"Image": base, "Cmd": ["x"]})
        if created.status != 201:
            raise Refused(created.text)
        container = created.json["Id"]
        repository, _, tag = name.partition(":")
        with self._changing(name, True):
            status = self._call(
                "POST", "/commit", also=(404, 501), container=container, repo=repository, tag=tag
            )
        if status != 201:
            self.expected.pop(name, None)
        self._call("DELETE", f"/containers/{container}", force="1")

    def _rmi(self, worker: int, chance: random.Random) -> None:
        mine = [name for name, there in self.expected.items() if there and f"-{worker}:" in name]
        if mine and chance.random() < 0.8:
            name = chance.choice(sorted(mine))
            with self._changing(name, False):
                self._call("DELETE", f"/images/{name}", force="1", also=(409,))
        else:
            with self._changing(self.pulled, shared=True):
                self._call("DELETE", f"/images/{self.pulled}", force="1", also=(404, 409))

    def _prune(self, _worker: int, _chance: random.Random) -> None:
        self._call("POST", "/images/prune", also=(409,))  # another worker's is under way

    def _changing(self, name: str, becomes: bool | None = None, *, shared: bool = False) -> "_Change":
        return _Change(self.expected, name, None if shared else becomes)

    # afterwards

    def check(self) -> Report:
        """The engine runs again. Raises AssertionError."""
        assert not self.unexpected, self.unexpected
        images = self.engine.call("GET", "/images/json", all="1").json
        names = {name for image in images for name in image["RepoTags"] or []}
        for name, there in self.expected.items():
            if there is not None and name not in (self.pulled, self.index):
                assert (name in names) is there, (
                    f"{name} is {'not ' if there else ''}there, although answered"
                )
        for image in images:
            answer = self.engine.call("GET", f"/images/{image['Id']}/json")
            assert answer.status == 200, answer.text
        report = audit(self.engine.data_root, verify=True)
        assert report.clean, (report.unowned, report.damaged)
        return report


class _Change:
    """`with`: nobody knows the name's state until the answer is there."""

    def __init__(self, expected: dict[str, bool | None], name: str, becomes: bool | None) -> None:
        self._expected, self._name, self._becomes = expected, name, becomes

    def __enter__(self) -> None:
        self._expected[self._name] = None

    def __exit__(self, kind: object, *_exc: object) -> None:
        if kind is None:
            self._expected[self._name] = self._becomes


def image_archive(name: str, kind: int) -> bytes:
    """Three layers, the lowest shared by all, the others by those of the same kind."""
    layers = [archive(directory("./"), entry("shared", b"s" * 50_000))]
    noise = random.Random(kind)  # noqa: S311 - no secret
    for number in range(2):
        files = [entry(f"d/{number}-{file}", noise.randbytes(3_000)) for file in range(20)]
        layers.append(archive(directory("d"), *files))
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Labels": {"kind": str(kind)}},
        "rootfs": {
            "type": "layers",
            "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest() for layer in layers],
        },
    }
    return saved(json.dumps(config).encode(), layers, [name])


def publish(registry: RealRegistry) -> str:
    """An index with attestations; its name."""
    layers = {platform: tar_of(**{platform[6:]: platform.encode() * 5_000}) for platform in PLATFORMS}
    Publisher(registry, "index").index("1", layers, attested=True)
    return f"{registry.host}/index:1"


def run_until(workload: Workload, seconds: float) -> None:
    """Starts the work and comes back at that moment, with the work under way."""
    workload.start()
    time.sleep(seconds)
