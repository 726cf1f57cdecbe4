"""Rules of docs/security.md that are about what the code does not do, or does in one place only."""

import ast
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from wherryd.cgroups import tree

ENGINE = Path(__file__).parents[2] / "guest" / "wherryd"


def _nodes() -> Iterator[tuple[str, ast.AST]]:
    """(file below the engine, node), for each node there is."""
    for path in sorted(ENGINE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            yield str(path.relative_to(ENGINE)), node


def _importers(*modules: str) -> set[str]:
    found = set()
    for file, node in _nodes():
        if isinstance(node, ast.Import):
            names = {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {(node.module or "").partition(".")[0]}
        else:
            continue
        if names & set(modules):
            found.add(file)
    return found


def _callers(*calls: str) -> set[str]:
    return {
        file
        for file, node in _nodes()
        if isinstance(node, ast.Call)
        and (ast.unparse(node.func) in calls or ast.unparse(node.func).rpartition(".")[2] in calls)
    }


def test_system_calls_are_made_in_one_layer() -> None:
    """Rule 4. libnftables has no other way in; wherry-runc's first interpreter makes one mount and execs,
    for which sys/ is not worth its import."""
    outside = {file for file in _importers("ctypes", "_ctypes", "cffi") if not file.startswith("sys/")}
    assert outside == {"networks/nft.py", "runtime/selfexe.py"}


def test_nobody_is_looked_up_by_libc() -> None:
    """Rule 8: NSS would load what an image names. The group of the API's socket is the host's own."""
    assert _importers("pwd", "grp", "spwd") == {"daemon/sockets.py"}
    assert _callers("getpwnam", "getpwuid", "getgrall", "expanduser", "getgrouplist", "initgroups") == set()


def test_archives_are_never_unpacked_by_the_standard_library() -> None:
    """Rule 6."""
    assert _callers("extractall", "unpack_archive", "_extract_member") == set()


def test_no_program_unpacks_what_is_compressed() -> None:
    """Rule 7: whatever is run by name is a tool of networks, of storage or of git, and none of these."""
    tools = {"gzip", "gunzip", "pigz", "unpigz", "xz", "unxz", "bzip2", "zstd", "tar", "lz4"}
    words = {
        (file, element.value)
        for file, node in _nodes()
        if isinstance(node, ast.List | ast.Tuple) and node.elts
        for element in node.elts[:1]
        if isinstance(element, ast.Constant) and element.value in tools
        if file.startswith(("images/", "containers/", "builder/", "content/"))
    }
    names = {file for file, _ in words}
    assert (
        names & _callers("run", "Popen", "create_subprocess_exec", "posix_spawn", "execv", "execve") == set()
    )


def test_processes_are_signalled_by_number_only_by_their_parents() -> None:
    """Rule 11: a child's number is nobody else's until it is waited for; every other process has a pidfd."""
    assert _callers("os.kill", "os.killpg") == {
        "runtime/hooks.py",
        "runtime/launch.py",
        "runtime/standalone.py",
        "sys/namespaces.py",
    }


def test_a_number_that_became_anothers_is_not_signalled() -> None:
    """Rule 11: it was in the group when that was read, and is not any more."""
    with subprocess.Popen(["sleep", "1000"]) as innocent, subprocess.Popen(["sleep", "1000"]) as member:
        try:
            answers = [[innocent.pid, member.pid], [member.pid]]
            assert tree.signal_all(lambda: answers.pop(0), signal.SIGTERM) == 2
            assert member.wait(10) == -signal.SIGTERM
            assert innocent.poll() is None
            # By number alone it would have been hit.
            os.kill(innocent.pid, signal.SIGTERM)
            assert innocent.wait(10) == -signal.SIGTERM
        finally:
            innocent.kill()
            member.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is of Linux")
@pytest.mark.parametrize("bounded", [True, False])
def test_a_range_without_end_is_not_expanded(bounded: bool) -> None:
    """Rule 9, CVE-2018-20699. Without the bound the same list takes all memory that there is."""
    program = f"""
import resource
from wherryd.spec import parse, scheduling
resource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28))
if not {bounded}:
    scheduling._MAX_CPUS = 1 << 64
try:
    cpus = {{"final": "1-9223372036854775806"}}
    parse.parse_process({{"args": ["a"], "cwd": "/", "execCPUAffinity": cpus}})
except (MemoryError, OverflowError):
    print("exhausted")
except Exception as error:
    print("refused", "is no range of CPUs" in str(error))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == ("refused True\n" if bounded else "exhausted\n")
