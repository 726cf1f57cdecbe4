"""What a plain call loads. Time itself is measured by `python -m bench client`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cli_fake_engine import Answer, environment, fake_engine

#: Each of these costs a good part of a bare interpreter's start, or several times of it.
HEAVY = frozenset(
    {
        *("requests", "urllib3", "http.client", "email", "ssl", "rich", "paramiko", "vagrant", "asyncio"),
        *("logging", "subprocess", "tarfile", "csv", "tempfile", "urllib.parse", "ipaddress", "platformdirs"),
        *("wherry.paths", "wherry.machine", "wherry.agent", "wherry.tunnel", "wherry.engine.create"),
        *("wherry.engine.parse.values", "wherry.engine.hijack", "wherry.engine.logins"),
        *("wherry.cli.output.template", "wherry.cli.output.functions", "wherry.cli.session"),
    }
)
_REPORT = """
import atexit, json, sys
atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))
from wherry.cli.main import main
main()
"""


@pytest.mark.parametrize(
    ("command", "path", "found"),
    [("ps", "/containers/json", []), ("images", "/images/json", []), ("version", "/version", {})],
)
def test_a_plain_call_loads_nothing_heavy(command: str, path: str, found: object) -> None:
    with fake_engine() as engine:
        engine.on("GET", path, Answer(200, found))
        if sys.platform == "win32":
            pytest.skip("the fake engine is on TCP there, whose address is parsed by urllib")
        done = subprocess.run(
            [sys.executable, "-c", _REPORT, command],
            env=environment(engine),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stderr.splitlines()[-1]))
    assert loaded & HEAVY == set()
    others = {name for name in loaded if name.startswith("wherry.cli.") and name.count(".") == 2}
    light = {"main", "command", "completing", "output", "preferences", "references", command}
    assert others <= {f"wherry.cli.{name}" for name in light}


#: What a build of an unchanged folder has no use for; parts of a plain call's list it needs.
NOT_FOR_BUILDS = frozenset(
    {
        *("requests", "urllib3", "http.client", "email", "ssl", "rich", "paramiko", "asyncio", "logging"),
        *("subprocess", "tarfile", "csv", "tempfile", "shutil", "decimal", "secrets", "hmac"),
        *("concurrent.futures", "wherry.engine.contextarchive", "wherry.engine.lending"),
        *("wherry.engine.create", "wherry.engine.hijack", "wherry.engine.parse.values"),
        *("wherry.cli.bars", "wherry.cli.buildoutput", "wherry.cli.buildcheck", "wherry.cli.session"),
    }
)


@pytest.mark.skipif(sys.platform == "win32", reason="the fake engine is on TCP there")
def test_a_build_of_an_unchanged_folder_loads_little_and_asks_little(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY a /\n")
    (tmp_path / "a").write_text("a")
    with fake_engine() as engine:
        engine.on("POST", "/build/contexts/needs", Answer(200, {"Paths": ["a"]}))
        engine.on("POST", "/build/contexts", Answer(200, {"Token": "t", "Missing": []}))
        engine.on("POST", "/build", Answer(200, {"stream": "sha256:1\n"}))
        done = subprocess.run(
            [sys.executable, "-c", _REPORT, "build", "-q", str(tmp_path)],
            env={**environment(engine), "WHERRY_HOME": str(tmp_path / "home")},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, "sha256:1\n"), done.stderr
        asked = [request.path for request in engine.requests]
    assert set(json.loads(done.stderr.splitlines()[-1])) & NOT_FOR_BUILDS == set()
    assert asked == ["/_ping", "/build/contexts/needs", "/build/contexts", "/build"]


def test_the_installed_command_keeps_status_and_output() -> None:
    with fake_engine() as engine:
        engine.on("POST", "/containers/x/wait", Answer(200, {"StatusCode": 5}))
        for arguments, status, out in (
            (["wait", "x"], 0, "5\n"),
            (["nosuch"], 1, ""),
            (["ps", "-z"], 125, ""),
        ):
            done = subprocess.run(
                [sys.executable, "-m", "wherry", *arguments],
                env=environment(engine),
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert (done.returncode, done.stdout) == (status, out), done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")
def test_a_reader_that_leaves_early_costs_no_traceback() -> None:
    with fake_engine() as engine:
        many = [{"Id": f"{n:064d}", "Names": ["/x"], "Created": 1} for n in range(20_000)]
        engine.on("GET", "/containers/json", Answer(200, many))
        done = subprocess.run(
            ["sh", "-c", f"{sys.executable} -m wherry ps | head -n 1"],
            env=environment(engine),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert "Traceback" not in done.stderr
    assert done.stdout.startswith("CONTAINER ID")


#: What a detached run has no use for: it attaches to nothing.
NOT_DETACHED = frozenset(
    {"decimal", "csv", "queue", "wherry.cli.session", "wherry.cli.lifecycle", "rich", "asyncio"}
)


@pytest.mark.skipif(sys.platform == "win32", reason="the fake engine is on TCP there")
def test_a_detached_run_loads_nothing_of_streams() -> None:
    with fake_engine() as engine:
        engine.on("POST", "/containers/create", Answer(201, {"Id": "x", "Warnings": []}))
        engine.on("POST", "/containers/x/start", Answer(204))
        done = subprocess.run(
            [sys.executable, "-c", _REPORT, "run", "-d", "-p", "80:80", "a"],
            env=environment(engine),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stdout) == (0, "x\n"), done.stderr
    assert set(json.loads(done.stderr.splitlines()[-1])) & NOT_DETACHED == set()
