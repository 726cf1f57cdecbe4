"""The init of --init: the bytes are what the sources say, and they do what an init does."""

import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wherryd.spec import dockerinit

SOURCES = Path(dockerinit.__file__).parent
MACHINE = os.uname().machine
PREFIXES = {"x86_64": "", "aarch64": "aarch64-linux-gnu-"}

runs = pytest.mark.skipif(
    sys.platform != "linux" or not dockerinit.available(MACHINE), reason="needs Linux on x86-64 or 64-bit ARM"
)


def tool(name: str, machine: str) -> str:
    found = (machine == MACHINE and shutil.which(name)) or shutil.which(PREFIXES[machine] + name)
    if not found or sys.platform != "linux":
        pytest.skip(f"needs binutils for {machine}")
    return found


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_program_is_what_its_source_assembles_to(machine: str, tmp_path: Path) -> None:
    tools = [tool(name, machine) for name in ("as", "ld", "objcopy")]
    source, made = SOURCES / f"dockerinit_{machine}.S", tmp_path / "init"
    for command in (
        [tools[0], "-o", f"{made}.o", str(source)],
        [tools[1], "-Ttext", "0x400000", "-e", "_start", "-o", str(made), f"{made}.o"],
        [tools[2], "-O", "binary", "-j", ".text", str(made), f"{made}.bin"],
    ):
        subprocess.run(command, check=True)
    assert Path(f"{made}.bin").read_bytes() == dockerinit.template(machine)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_segment_holds_the_candidates_too(machine: str) -> None:
    made = dockerinit.program(machine, "x", ["PATH=/a:/b"])
    assert made == made[: len(dockerinit.template(machine))] + b"/a/x\0/b/x\0\0"
    assert struct.unpack_from("<QQ", made, 64 + 32) == (len(made), len(made))


def test_candidates_follow_the_last_path_and_a_slash_is_a_path() -> None:
    assert dockerinit.candidates("x", ["PATH=/a", "PATH=/b::/c"]) == ["/b/x", "./x", "/c/x"]
    assert dockerinit.candidates("./x", ["PATH=/a"]) == ["./x"]
    assert dockerinit.candidates("x", [])[-1] == "/bin/x"


def made(tmp_path: Path, command: str, path: str = "/nowhere:/bin:/usr/bin") -> str:
    program = tmp_path / "docker-init"
    program.write_bytes(dockerinit.program(MACHINE, command, [f"PATH={path}"]))
    program.chmod(0o755)
    return str(program)


@runs
@pytest.mark.parametrize(
    ("script", "status"), [("exit 7", 7), ("kill -9 $$", 137), ("kill -TERM $$; sleep 9", 143), ("true", 0)]
)
def test_it_ends_with_the_commands_status(tmp_path: Path, script: str, status: int) -> None:
    result = subprocess.run([made(tmp_path, "sh"), "--", "sh", "-c", script], timeout=20, check=False)
    assert result.returncode == status


@runs
def test_it_says_what_it_cannot_run(tmp_path: Path) -> None:
    missing = subprocess.run(
        [made(tmp_path, "nosuch"), "--", "nosuch"], capture_output=True, timeout=20, check=False
    )
    assert (missing.returncode, missing.stderr) == (
        127,
        b"docker-init: exec failed: executable file not found\n",
    )
    (tmp_path / "plain").write_text("text")
    plain = made(tmp_path, "plain", f"/nowhere:{tmp_path}")
    broken = subprocess.run([plain, "--", "plain"], capture_output=True, timeout=20, check=False)
    assert (broken.returncode, broken.stderr) == (
        126,
        b"docker-init: exec failed: the file cannot be executed\n",
    )


@runs
def test_it_forwards_signals_and_reaps_orphans(tmp_path: Path) -> None:
    script = (
        "trap 'echo got; exit 5' USR1; (sh -c 'sleep 0.5 & echo $!' > orphan); echo ready; "
        "while :; do sleep 0.02; done"
    )
    process = subprocess.Popen(
        [made(tmp_path, "sh"), "--", "sh", "-c", script], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    orphan = Path(f"/proc/{(tmp_path / 'orphan').read_text().strip()}/stat")
    # A subreaper's child, not the machine's init's; and no zombie stays of it.
    assert int(orphan.read_text().rpartition(")")[2].split()[1]) == process.pid
    deadline = time.monotonic() + 20
    while orphan.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGUSR1)
    assert process.wait(20) == 5
    assert process.stdout.read() == "got\n"
    process.stdout.close()


@runs
def test_the_command_gets_the_words_and_the_environment(tmp_path: Path) -> None:
    script = 'echo "$0 $1 $A"; grep SigBlk /proc/self/status'
    result = subprocess.run(
        [made(tmp_path, "sh"), "--", "sh", "-c", script, "zero", "one"],
        env={"A": "b", "PATH": "/bin:/usr/bin"}, capture_output=True, text=True, timeout=20, check=True,
    )  # fmt: skip
    assert result.stdout == "zero one b\nSigBlk:\t0000000000000000\n"
