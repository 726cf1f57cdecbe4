"""The lint for modules that handle container roots: the tree passes, each way to go by a path is found."""

import importlib.util
from pathlib import Path

import pytest

_FILE = Path(__file__).resolve().parents[2] / "scripts" / "lint_root_paths.py"
_spec = importlib.util.spec_from_file_location("lint_root_paths", _FILE)
assert _spec is not None
assert _spec.loader is not None
lint = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(lint)


def test_the_engine_goes_into_roots_by_descriptors_only() -> None:
    assert lint.check() == []


def test_every_module_that_may_meet_a_root_is_looked_at() -> None:
    looked_at = {path.relative_to(lint.ENGINE).as_posix() for path in lint.modules()}
    assert {"runtime/rootfs.py", "runtime/identity.py", "images/unpack/extract.py"} <= looked_at
    assert {
        "containers/archive/extract.py",
        "containers/rootfiles.py",
        "builder/copying/tree.py",
    } <= looked_at
    # Whoever takes a root by /proc/<pid>/root is one of them; standalone.py only hands the descriptor on.
    for path in lint.ENGINE.rglob("*.py"):
        if "}/root" in path.read_text():
            assert path.relative_to(lint.ENGINE).as_posix() in looked_at | {"runtime/standalone.py"}


@pytest.mark.parametrize(
    "call",
    [
        "open(name)",
        "os.open(name, 0)",
        "os.path.exists(name)",
        "os.path.realpath(name)",
        "Path(name).read_text()",
        "os.stat(name)",
        "os.listdir(name)",
        "os.chown(name, 0, 0)",
        "os.mkdir(root + name)",
        "os.walk(name)",
        "shutil.rmtree(name)",
        "glob.glob(name)",
        "posixpath.islink(name)",
        "tarfile.open(name)",
        "archive.extractall(name)",
        "os.setxattr(name, 'user.a', b'')",
        "os.chdir(name)",
        "io.open(name)",
    ],
)
def test_a_call_that_goes_by_a_path_is_found(call: str) -> None:
    found = list(lint.findings(f"def function(root: int, name: str) -> None:\n    {call}\n"))
    assert [line for line, _ in found] == [2]


@pytest.mark.parametrize(
    "lines",
    [
        "os.open(name, 0, dir_fd=root)",
        "os.listdir(root)",
        "os.path.join(name, 'a')",
        "os.open('/dev/null', 0)",
        "with paths.opened(root, name) as fd: os.utime(fd)",
        "fd = paths.open_in_root(root, name); os.chmod(fd, 1)",
        "os.fchmod(root, 0)",
        "os.rename(name, name, src_dir_fd=root, dst_dir_fd=root)",
        "os.chdir('/')",
    ],
)
def test_what_goes_by_descriptors_is_not(lines: str) -> None:
    assert list(lint.findings(f"def function(root: int, name: str) -> None:\n    {lines}\n")) == []


def test_a_descriptor_of_another_function_does_not_count() -> None:
    source = "def one(fd: int) -> None: pass\ndef two(fd: str) -> None:\n    os.listdir(fd)\n"
    assert [line for line, _ in lint.findings(source)] == [3]
