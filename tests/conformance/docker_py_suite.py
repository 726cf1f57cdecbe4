"""docker-py's own integration suite as a judge: run against an engine, N of M passed.

    python tests/conformance/docker_py_suite.py wherryd dockerd   # both; fails where only dockerd passes
    python tests/conformance/docker_py_suite.py unix:///run/wherryd.sock

The suite is in docker-py's source archive (the last one that ships it), fetched with pip. Left out by name:
what is about swarm and plugins. Tests that need a public registry fail with every engine and count as they
are. Needs root, busybox-static, and docker.io for `dockerd`. Not part of `make test`: it takes minutes.
"""

import argparse
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import xml.etree.ElementTree as ET
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/guest")]

from bench import engines  # noqa: E402
from native_engine import UnixConnection, busybox_tar  # noqa: E402

VERSION = "7.0.0"
#: The newest one that Debian's dockerd has, for both.
API_VERSION = "1.41"
#: What only a swarm or a plugin from a public registry can answer, and what asks no engine at all.
LEFT_OUT = (
    "api_config_test.py",
    "api_plugin_test.py",
    "api_secret_test.py",
    "api_service_test.py",
    "api_swarm_test.py",
    "credentials",
    "models_nodes_test.py",
    "models_services_test.py",
    "models_swarm_test.py",
)
#: Single tests that begin with `swarm init`.
NEED_A_SWARM = (
    "test_create_inspect_network_with_scope",
    "test_create_network_attachable",
    "test_create_network_ingress",
)
IMAGES = ("alpine:3.10", "alpine:latest", "busybox:latest")
#: What the suite expects to find in Alpine's image.
EXTRA = (
    ("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\npostgres:x:70:70::/var/lib/postgresql:/bin/sh\n"),
    ("var/opt/.keep", b""),
)
TEST_SECONDS = 90
PYTEST = (
    *(sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", "."),
    *("-p", "no:cacheprovider", "-W", "ignore", "--tb=short"),
)

#: Put beside the suite: a test that hangs fails alone.
_LIMITS = f"""
import signal
import pytest

def _late(*_):
    raise AssertionError("took longer than {TEST_SECONDS} s")

@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    signal.signal(signal.SIGALRM, _late)
    signal.alarm({TEST_SECONDS})
    yield
    signal.alarm(0)
"""


def fetch(folder: Path) -> Path:
    """The suite, unpacked, with what it imports; its folder holds `tests`."""
    pip = [sys.executable, "-m", "pip"]
    target = folder / f"docker-{VERSION}/needed"
    subprocess.run([*pip, "install", "-q", "--target", str(target), "websocket-client"], check=True)
    subprocess.run(
        [*pip, "download", "-q", "--no-deps", "--no-binary", ":all:",
         "-d", str(folder), f"docker=={VERSION}"],
        check=True,
    )  # fmt: skip
    with tarfile.open(next(folder.glob("docker-*.tar.gz"))) as archive:
        # Without the library beside it, so that the one that is installed is tested.
        tests = [each for each in archive.getmembers() if f"docker-{VERSION}/tests/" in each.name]
        archive.extractall(folder, tests, filter="data")
    found = folder / f"docker-{VERSION}"
    (found / "tests/conftest.py").write_text(_LIMITS)
    return found


def provide_images(host: str) -> None:
    """Under the names the suite wants: no public registry is asked."""
    content = busybox_tar(EXTRA, everything=True)
    for name in IMAGES:
        repository, _, tag = name.partition(":")
        connection = UnixConnection(Path(host.removeprefix("unix://")))
        path = f"/images/create?fromSrc=-&repo={repository}&tag={tag}&changes=CMD%20%5B%22sh%22%5D"
        connection.request("POST", path, body=content, headers={"Content-Type": "application/x-tar"})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        if answer.status != 200 or "errorDetail" in text:
            raise SystemExit(f"{host} does not take an image: {text}")


def run(host: str, suite: Path, options: list[str]) -> dict[str, str]:
    """Test -> "passed", "failed" or "skipped"."""
    report = suite / "report.xml"
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("DOCKER_", "PYTEST_"))},
        "DOCKER_HOST": host,
        "DOCKER_CONFIG": str(suite / "config"),
        # What a newer version shows differently would be judged as it was in this one.
        "DOCKER_TEST_API_VERSION": API_VERSION,
        "HOME": str(suite),
        "PYTHONPATH": f"{suite / 'needed'}:{os.environ.get('PYTHONPATH', '')}",
    }
    left_out = [f"--ignore=tests/integration/{name}" for name in LEFT_OUT]
    network = "tests/integration/api_network_test.py::TestNetworks"
    left_out += [f"--deselect={network}::{name}" for name in NEED_A_SWARM]
    subprocess.run(
        [*PYTEST, f"--junitxml={report}", *left_out, *options, "tests/integration"],
        cwd=suite,
        env=environment,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    found: dict[str, str] = {}
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - written by the pytest that was just run
        name = f"{case.get('classname', '').rpartition('.')[2]}.{case.get('name')}"
        kinds = {child.tag for child in case}
        failed = kinds & {"failure", "error"}
        found[name] = "failed" if failed else "skipped" if "skipped" in kinds else "passed"
    return found


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("engine", nargs="+", help="wherryd, dockerd, or the address of one: unix://PATH")
    parser.add_argument("--suite", type=Path, help="a folder that holds the suite already")
    parser.add_argument("--json", type=Path, help="write the outcome of each test here")
    parser.add_argument("-k", help="only these tests, as pytest takes it")
    wanted = parser.parse_args()
    outcomes: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory(prefix="wherry-suite-") as scratch:
        root = Path(scratch)
        suite = wanted.suite or fetch(root)
        for name in wanted.engine:
            with ExitStack() as stack:
                command = engines.commands(root).get(name)
                socket = root / f"{name}.sock"
                host = stack.enter_context(engines.engine(command, socket)) if command else name
                provide_images(host)
                outcomes[name] = run(host, suite, ["-k", wanted.k] if wanted.k else [])
    for name, found in outcomes.items():
        counted = [outcome for outcome in found.values() if outcome != "skipped"]
        say(
            f"{name}: {counted.count('passed')} of {len(counted)} passed, {len(found) - len(counted)} skipped"
        )
    if wanted.json:
        wanted.json.write_text(json.dumps(outcomes, indent=1))
    if len(wanted.engine) < 2:
        return 0
    ours, theirs = (outcomes[name] for name in wanted.engine[:2])
    worse = sorted(
        test for test, outcome in theirs.items() if outcome == "passed" and ours.get(test) == "failed"
    )
    for test in worse:
        say(f"passes with {wanted.engine[1]} only: {test}")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
