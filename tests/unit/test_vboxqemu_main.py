"""The command as a process: exit statuses, error lines, and what it may load."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import vboxqemu
from vboxqemu import errors, main, shim

ROOT = Path(vboxqemu.__file__).parent.parent


@pytest.fixture
def program(tmp_path: Path) -> Path:
    return shim.install(tmp_path / "a folder" / "bin")


def run(program: Path, *words: str) -> subprocess.CompletedProcess[str]:
    home = program.parent.parent / "home"
    return subprocess.run(
        [str(program), *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "VBOXQEMU_HOME": str(home)},
    )


def test_version_is_one_that_vagrant_has_a_driver_for(program: Path) -> None:
    done = run(program, "--version")
    assert (done.returncode, done.stdout) == (0, "7.0.20r163906\n")


def test_shim_is_written_once_and_passes_arguments_whole(program: Path, tmp_path: Path) -> None:
    stamp = program.stat().st_mtime_ns
    assert shim.install(program.parent) == program
    assert program.stat().st_mtime_ns == stamp
    assert "named 'a b \"c\" $d'" in run(program, "showvminfo", 'a b "c" $d').stderr


def test_unknown_vm_is_reported_as_virtualbox_does(program: Path) -> None:
    done = run(program, "showvminfo", "nope")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "VBoxManage: error: Could not find a registered machine named 'nope'",
        "VBoxManage: error: Details: code VBOX_E_OBJECT_NOT_FOUND (0x80bb0001), component VirtualBoxWrap, "
        "interface IVirtualBox, callee nsISupports",
    ]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["frobnicate"], "Invalid command 'frobnicate'"),
        (["list", "unicorns"], "Invalid parameter 'unicorns'"),
        (["showvminfo"], "VM name not specified"),
        (["showvminfo", "a", "--loud"], "Unknown option: --loud"),
        (["createmedium", "disk", "--filename"], "Missing argument to '--filename'"),
        (["startvm", "a", "--type", "hologram"], "Invalid frontend 'hologram'"),
    ],
)
def test_typing_errors_end_with_status_2(program: Path, words: list[str], text: str) -> None:
    done = run(program, *words)
    assert done.returncode == 2
    assert f"VBoxManage: error: {text}" in done.stderr


@pytest.mark.parametrize("verb", [verb for verb, module in main.VERBS.items() if module == "unsupported"])
def test_verbs_without_a_meaning_here_say_so(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(errors.NotSupported, match=f"{verb} is not supported on QEMU"):
        main.execute([verb, "a"])


def test_lists_of_what_there_is_none_of_are_empty_and_succeed(program: Path) -> None:
    for what in ("vms", "runningvms", "hostonlyifs", "dhcpservers", "bridgedifs", "hdds", "natnets"):
        done = run(program, "list", what)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_machine_folder_is_told(program: Path) -> None:
    lines = run(program, "list", "systemproperties").stdout.splitlines()
    (line,) = [each for each in lines if each.startswith("Default machine folder:")]
    assert Path(line.partition(":")[2].strip()) == program.parent.parent / "home" / "machines"


def test_every_error_class_of_virtualbox_has_code_and_number() -> None:
    waiting = [errors.VBoxError]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if kind in (errors.VBoxError, errors.Syntax):
            continue
        assert kind.code
        assert kind.number >= 0x80000000
        assert len(kind("x").lines()) == 2


def test_question_loads_no_slow_module(tmp_path: Path) -> None:
    """What `showvminfo` imports is its run time: Vagrant asks a hundred times in one `up`."""
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from vboxqemu import main, store\n"
        "store.create(store.folder_for('a'), store.new_vm('a', 'Linux_64'))\n"
        "main.execute(['showvminfo', 'a', '--machinereadable'])\n"
        "slow = {'dataclasses', 'inspect', 'pathlib', 'typing', 'subprocess', 'socket', 'argparse', 'uuid'}\n"
        "sys.exit(' '.join(sorted(slow & sys.modules.keys())) or None)\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "VBOXQEMU_HOME": str(tmp_path)},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert 'VMState="poweroff"' in done.stdout
