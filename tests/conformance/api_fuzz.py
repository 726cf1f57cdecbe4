"""schemathesis as a judge: requests made from the Engine API's description; none may hang or end in a 500.

    python tests/conformance/api_fuzz.py [--requests 20000] [--seed 1] [--only "POST /containers/create"]

Half of the requests fit the description and half break it on purpose. Since random names find nothing, most
are then led to things that exist: containers that run, have ended or are paused, an image, a volume, a
network, an exec. Of a random body a few fields are put into one that is right, so that more than the first
check is reached. The engine is one of the script's own, in a network and mount namespace without a way out.

A finding is a 5xx other than 501 and 503 (which say that a part is not there), a broken connection, no
answer in ANSWER_SECONDS, an answer that is not as described, or a traceback in the engine's log.
schemathesis is fetched with pip into the user's cache. Needs root, busybox-static and the description.
"""

import argparse
import contextlib
import json
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests/guest"), str(ROOT / "tests/conformance")]

import swagger  # noqa: E402
from fuzz_world import World  # noqa: E402
from native_engine import NativeEngine  # noqa: E402

from wherry.paths import paths  # noqa: E402

PINNED = "schemathesis==4.32.5"
VERSION = "1.51"
#: The longest that an answer's head, and the body of one that is no stream, may take.
ANSWER_SECONDS = 20.0
#: Requests between two moments at which everything is put in place again.
ROUND = 400
#: An operation gets a few cases at a time: what operations do to each other differs from round to round.
CASES = 8
#: What is refused as a whole gets fewer.
REFUSED = ("swarm", "nodes", "services", "tasks", "secrets", "configs", "plugins", "session")
#: What these answer ends with the container, or never: their client goes away after the head.
STREAMS = frozenset(
    {
        "GET /events",
        "GET /containers/{id}/logs",
        "GET /containers/{id}/stats",
        "POST /containers/{id}/attach",
        "GET /containers/{id}/attach/ws",
        "POST /containers/{id}/wait",
        "POST /exec/{id}/start",
    }
)
ALONE = ("unshare", "--net", "--mount", "--propagation", "private")
LOOPBACK = ("sh", "-c", 'ip link set lo up; exec "$@"', "sh")


def provide() -> None:
    """Makes schemathesis importable: from the cache, filled at the first time."""
    target = paths().boxes.parent / "tools" / PINNED
    if not (target / "complete").exists():
        pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        # What it says of versions is about the project's own environment, which is not touched.
        subprocess.run(
            [*pip, "--upgrade", "--target", str(target), PINNED], check=True, stderr=subprocess.PIPE
        )
        (target / "complete").touch()
    # Behind what is installed: only what is missing comes from here.
    sys.path.append(str(target))


class Report:
    """Statuses by number, and each kind of finding with the first request that showed it."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.unsent = 0
        self.findings: dict[str, str] = {}
        self.slowest = (0.0, "")

    def find(self, what: str, example: str) -> None:
        # The same but for a number or a name is the same.
        self.findings.setdefault(re.sub(r"[0-9]+|'.*'", "_", what), f"{what}\n    {example}")

    def took(self, seconds: float, label: str) -> None:
        self.slowest = max(self.slowest, (seconds, label))

    @property
    def sent(self) -> int:
        return self.statuses.total()


class Judge:
    """Sends cases and looks at the answers."""

    def __init__(self, world: World, engine: NativeEngine, report: Report) -> None:
        import requests
        from docker.transport import UnixHTTPAdapter

        self._world, self._report = world, report
        self._description = swagger.description(VERSION)
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.mount("http+docker://", UnixHTTPAdapter(f"http+unix://{engine.socket}", ANSWER_SECONDS))

    def send(self, case: Any, label: str) -> None:
        import requests

        self._world.steer(case, label)
        request = case.as_transport_kwargs()
        # It would be sent to where the description came from.
        path = request["url"].partition(f"/v{VERSION}/")[2]
        request["url"] = f"http+docker://engine/v{VERSION}/{path}"
        archive = self._world.archive(label)
        if archive is not None:
            request = {**request, "data": archive, "json": None}
            request["headers"]["Content-Type"] = "application/x-tar"
        shown = {key: value for key, value in request.items() if value and key != "cookies"}
        example = f"{str(shown)[:900]}"
        began = time.monotonic()
        try:
            with self._session.request(**request, timeout=ANSWER_SECONDS, stream=True) as answer:
                self._judge(answer, label, example)
        except (requests.exceptions.InvalidHeader, UnicodeError):
            self._report.unsent += 1  # HTTP has no way to say it
        except (requests.RequestException, OSError, AttributeError) as exc:
            self._report.find(f"{label}: {type(exc).__name__}: {exc}"[:200], example)
        self._report.took(time.monotonic() - began, label)

    def _judge(self, answer: Any, label: str, example: str) -> None:
        status = answer.status_code
        self._report.statuses[status] += 1
        if label in STREAMS and status < 300:
            return
        body = self._read(answer)
        if body is None:
            self._report.find(f"{label}: its answer does not end", example)
        elif status >= 500 and status not in (501, 503):
            self._report.find(f"{label}: {status}: {body[:160]!r}", example)
        elif answer.headers.get("Content-Type") == "application/json" and body.count(b"\n") < 2:
            self._described(body, status, label, example)

    @staticmethod
    def _read(answer: Any) -> bytes | None:
        """The body, up to a MiB of it. None when it takes too long."""
        kept = b""
        began = time.monotonic()
        for data in answer.iter_content(1 << 20):
            kept = kept or data
            if time.monotonic() - began > ANSWER_SECONDS:
                return None
        return kept

    def _described(self, body: bytes, status: int, label: str, example: str) -> None:
        method, _, path = label.partition(" ")
        if method == "HEAD":
            return
        try:
            document = json.loads(body)
        except ValueError:
            self._report.find(f"{label}: {status}: is not JSON: {body[:80]!r}", example)
            return
        for finding in self._description.findings(document, path, method, status):
            # Many operations have statuses that their description leaves out (400, 403, 409, 501).
            if not finding.endswith("is not described"):
                self._report.find(f"{label}: {status}: {finding}", example)


def cases(operation: Any, amount: int, seed: int) -> list[Any]:
    """That many cases of an operation; half of them break its description."""
    from hypothesis import HealthCheck, Phase, errors, given, settings
    from hypothesis import seed as seeded
    from schemathesis import GenerationMode

    found: list[Any] = []
    for mode in GenerationMode:
        wanted = settings(
            max_examples=max(1, amount // 2),
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )

        @seeded(seed)
        @wanted
        @given(case=operation.as_strategy(generation_mode=mode))
        def collect(case: Any) -> None:
            found.append(case)

        # An operation without parameters cannot be broken.
        with contextlib.suppress(errors.Unsatisfiable, errors.HypothesisException):
            collect()
    return found


def _as_bytes(_context: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")


def requests_in_turn(dice: random.Random, only: str) -> Iterator[tuple[str, Any]]:
    """Without an end: (operation, case)."""
    import schemathesis

    schemathesis.serializer("application/x-tar", "application/tar")(_as_bytes)
    schema = schemathesis.openapi.from_path(swagger.path(VERSION))
    operations = [each.ok() for each in schema.get_all_operations()]
    chosen = [each for each in operations if only in each.label]
    while True:
        dice.shuffle(chosen)
        for operation in chosen:
            refused = operation.path.strip("/").partition("/")[0] in REFUSED
            for case in cases(operation, 2 if refused else CASES, dice.getrandbits(32)):
                yield operation.label, case


def fuzz(engine: NativeEngine, amount: int, seed: int, only: str = "") -> Report:
    """Sends that many requests to an engine that has the tests' image."""
    provide()
    warnings.simplefilter("ignore")
    dice = random.Random(seed)  # noqa: S311 - to be repeated
    report, world = Report(), World(engine, dice)
    judge = Judge(world, engine, report)
    turn = requests_in_turn(dice, only)
    try:
        for number in range(2 * amount):
            if report.sent >= amount:
                break
            if number % ROUND == 0:
                world.refill()
            label, case = next(turn)
            judge.send(case, label)
    except KeyboardInterrupt:
        report.find(f"interrupted after {report.sent} of {amount} requests", "")
    world.refill()
    succeeded = sum(count for status, count in report.statuses.items() if status < 300)
    if succeeded < report.sent / 10:
        report.find(f"only {succeeded} of {report.sent} requests succeeded: what was tested?", "")
    for trace in engine.log.read_text(errors="replace").split("Traceback")[1:]:
        last = next((line for line in trace.splitlines()[1:] if line[:1].strip()), "")
        report.find(f"in the engine's log: {last}", trace[:4000])
    return report


@contextlib.contextmanager
def engine_alone() -> Iterator[NativeEngine]:
    """In namespaces of its own: no request can reach anything but the engine."""
    engine = NativeEngine(Path(tempfile.mkdtemp(prefix="wherry-fuzz-")), random.randrange(1000))  # noqa: S311
    engine.within = (*ALONE, *LOOPBACK)
    try:
        engine.start()
        engine.import_busybox()
        yield engine
    finally:
        engine.end()


def resident(pid: int) -> int:
    """KiB of memory that a process has. Source: proc(5), status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1])


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help='operations with this in them: "POST /containers"')
    wanted = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what there is by then is told
    with engine_alone() as engine:
        before, began = resident(engine.pid), time.monotonic()
        report = fuzz(engine, wanted.requests, wanted.seed, wanted.only)
        after = resident(engine.pid)
    for _, example in sorted(report.findings.items()):
        say(f"\n{example}")
    counted = ", ".join(f"{status}: {amount}" for status, amount in sorted(report.statuses.items()))
    say(f"\n{report.sent} answers in {time.monotonic() - began:.0f} s ({report.unsent} could not be sent)")
    say(f"statuses {counted}; the slowest: {report.slowest[1]}, {report.slowest[0]:.1f} s")
    say(f"the engine's memory: {before} KiB before, {after} KiB after; {len(report.findings)} findings")
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
