"""`wherryd configure`: options of the next start, and registries' certificates; all of it or nothing."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from native_engine import NativeEngine

from wherry.cli.machine.set import document
from wherryd.daemon.options import parse

pytestmark = pytest.mark.root


def _configure(root: Path, wanted: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "wherryd.daemon.main", "configure", "--data-root", str(root)],
        input=json.dumps(wanted),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    file = tmp_path / "company-ca.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-subj", "/CN=company", "-keyout", str(tmp_path / "key"), "-out", str(file)],
        check=True, capture_output=True,
    )  # fmt: skip
    return file


def test_what_the_client_sends_is_what_the_next_start_takes(tmp_path: Path, authority: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "wherryd.json").write_text('{"debug": true, "registry-mirrors": ["https://old"]}')
    lists = {"registry_mirror": ("https://m",), "insecure_registry": ("10.0.0.0/8", "plain:5000")}
    done = _configure(root, document(lists, (f"registry.example:5000={authority}",), None))
    assert done.returncode == 0, done.stderr
    options = parse(["--data-root", str(root)])
    assert options.registry_mirrors == ("https://m",)
    assert options.insecure_registries == ("10.0.0.0/8", "plain:5000")
    assert options.debug, "other options stay"
    kept = root / "certs.d/registry.example:5000/ca.crt"
    assert kept.read_text() == authority.read_text()
    assert json.loads(done.stdout)["certificates"] == {"registry.example:5000": ["ca.crt"]}


def test_null_takes_back_what_was_set(tmp_path: Path, authority: Path) -> None:
    lists = {"registry_mirror": ("https://m",)}
    assert not _configure(tmp_path, document(lists, (f"r:5={authority}",), None)).returncode
    done = _configure(tmp_path, document({"registry_mirror": ("",)}, ("r:5=",), None))
    assert json.loads(done.stdout) == {"options": {}, "certificates": {}}
    assert parse(["--data-root", str(tmp_path)]).registry_mirrors == ()


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"options": {"registry-mirrors": ["ftp://m"]}}, "--registry-mirror ftp://m"),
        ({"options": {"registry-mirrors": ["https://m"], "no-such": 1}}, 'unknown option "no-such"'),
        ({"options": {"insecure-registries": "a"}}, "has the wrong type"),
        ({"options": {"data-root": "/x"}}, "cannot name another"),
        ({"options": []}, "must be a JSON object"),
        ({"other": {}}, "only options and certificates"),
        ({"certificates": {"../etc": {"ca.crt": "x"}}}, "no registry's address"),
        ({"certificates": {"r": {"../ca.crt": "x"}}}, "is no *.crt"),
        ({"certificates": {"r": {"ca.crt": "x"}}}, "no certificate in PEM"),
        ({"certificates": {"r": "x"}}, "file names with their contents"),
    ],
)
def test_bad_setting_is_refused_by_name_and_changes_nothing(tmp_path: Path, wanted: Any, words: str) -> None:
    done = _configure(tmp_path, wanted)
    assert done.returncode == 1
    assert words in done.stderr
    assert not list(tmp_path.iterdir())


def test_engine_asks_the_mirror_that_was_set_after_its_restart(fresh_engine: NativeEngine) -> None:
    done = _configure(fresh_engine.data_root, {"options": {"registry-mirrors": ["http://127.0.0.1:9"]}})
    assert done.returncode == 0, done.stderr
    fresh_engine.kill()
    fresh_engine.start()
    info = fresh_engine.call("GET", "/info").json
    assert info["RegistryConfig"]["Mirrors"] == ["http://127.0.0.1:9"]
