"""The choice of acceleration: the probe's verdict, how long it is believed, what overrides it."""

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vboxqemu import accel, probe, supervisor, tools
from vboxqemu.errors import InvalidArgument


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    qemu = tmp_path / "qemu"
    qemu.write_bytes(b"x")
    monkeypatch.setenv("VBOXQEMU_HOME", str(tmp_path))
    monkeypatch.delenv("VBOXQEMU_ACCEL", raising=False)
    monkeypatch.setattr(tools, "emulator", lambda: str(qemu))
    return tmp_path


def verdicts(monkeypatch: pytest.MonkeyPatch, *answers: str) -> list[str]:
    left = list(answers)
    monkeypatch.setattr(accel, "find_out", lambda qemu: (left.pop(0), ""))
    return left


def test_verdict_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    left = verdicts(monkeypatch, "kvm", "tcg")
    assert accel.choose() == ("kvm", "host")
    assert accel.choose() == ("kvm", "host")
    assert left == ["tcg"]


def test_other_qemu_is_probed_again(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    verdicts(monkeypatch, "kvm", "tcg")
    accel.choose()
    (home / "qemu").write_bytes(b"newer")
    assert accel.choose()[0] == "tcg"


def test_failure_is_believed_for_a_day_and_success_for_good(
    monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    left = verdicts(monkeypatch, "tcg", "kvm", "tcg")
    accel.choose()
    age(home, hours=23)
    assert accel.choose()[0] == "tcg"
    age(home, hours=25)
    assert accel.choose()[0] == "kvm"
    age(home, hours=1000)
    assert accel.choose()[0] == "kvm"
    assert left == ["tcg"]


def age(home: Path, *, hours: int) -> None:
    path = home / "accel.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"at": time.time() - hours * 3600}))


def test_damaged_verdict_is_found_again(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    verdicts(monkeypatch, "kvm")
    (home / "accel.json").write_text('{"acc')
    assert accel.choose()[0] == "kvm"


def test_environment_overrides_and_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VBOXQEMU_ACCEL", "tcg")
    assert accel.choose()[0] == "tcg"
    monkeypatch.setenv("VBOXQEMU_ACCEL", "warp")
    with pytest.raises(InvalidArgument, match="kvm, hvf, whpx, tcg"):
        accel.choose()


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        (f"raise SystemExit({probe.EXIT_STATUS})", None),
        ("import sys; sys.exit('qemu: no such thing')", "qemu: no such thing"),
        ("raise SystemExit(3)", "a test guest ended with 3"),
        ("import time; time.sleep(60)", "did not get through"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="needs a script as the program")
def test_only_a_guest_that_comes_through_proves_acceleration(
    tmp_path: Path, program: str, problem: str | None
) -> None:
    fake = tmp_path / "fake-qemu"
    fake.write_text(f"#!/bin/sh\nexec '{sys.executable}' -I -S -c \"{program}\"\n")
    fake.chmod(0o755)
    said = accel.try_guest(str(fake), "kvm", 1.0 if problem and "through" in problem else 30.0)
    assert said is None if problem is None else problem in (said or "")


#: Processor time, not time: a loaded host makes both guests slow.
BUSY = "i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done"


@pytest.mark.parametrize(
    ("emulated", "accelerated", "chosen"),
    [
        ("true", "true", "kvm"),
        ("true", "exec sleep 60", "tcg"),
        ("sleep 1", BUSY, "tcg"),
        ("true", "sleep 1", "kvm"),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="KVM's rule")
def test_acceleration_slower_than_emulation_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, emulated: str, accelerated: str, chosen: str
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(os, "access", lambda path, mode: True)
    monkeypatch.setattr(accel, "PROBE_S", 2.0 if "60" in accelerated else 30.0)
    monkeypatch.setattr(accel, "QUICK_S", 0.1)
    fake = tmp_path / "fake-qemu"
    fake.write_text(
        f'#!/bin/sh\ncase "$*" in *kvm*) {accelerated};; *) {emulated};; esac\nexit {probe.EXIT_STATUS}\n'
    )
    fake.chmod(0o755)
    name, why = accel.find_out(str(fake))
    assert name == chosen
    assert bool(why) == (chosen == "tcg")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a script as the program")
def test_an_accelerator_that_gives_up_on_a_guest_is_not_chosen_again(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The supervisor ends a guest that stands still for good, as after KVM's "emulation failure"."""
    verdicts(monkeypatch, "kvm")
    assert accel.choose()[0] == "kvm"
    folder = home / "vm"
    (folder / "Logs").mkdir(parents=True)
    (folder / "Logs" / "qemu.log").write_text("KVM internal error of an earlier run\n")
    script = "echo 'KVM internal error. Suberror: 1' >&2; exec sleep 600"
    run = {"argv": ["sh", "-c", script], "phase": "running", "qmp": "", "accel": "kvm", "cpu": "", "at": ""}
    (folder / "run.json").write_text(json.dumps(run))
    monkeypatch.setattr(sys, "argv", ["supervisor", str(folder)])
    monkeypatch.setattr(supervisor, "LOOK_S", 0.05)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    supervisor.main()
    assert json.loads((folder / "exit.json").read_text())["clean"] is False
    assert accel.choose()[0] == "tcg"
    assert "gave up on a guest" in json.loads((home / "accel.json").read_text())["why"]


def test_boot_sector_is_what_the_source_assembles_to(tmp_path: Path) -> None:
    sector = probe.boot_sector()
    assert len(sector) == 512
    assert sector.endswith(b"\x55\xaa")
    if sys.platform != "linux" or shutil.which("as") is None or shutil.which("ld") is None:
        pytest.skip("no GNU assembler here")
    source = Path(probe.__file__).with_name("probe.S")
    made, linked = tmp_path / "probe.o", tmp_path / "probe.bin"
    subprocess.run(["as", "--64", "-o", made, source], check=True, timeout=60)
    link = ["ld", "-m", "elf_x86_64", "-Ttext", "0x7c00", "--oformat", "binary", "-e", "_start"]
    subprocess.run([*link, "-o", linked, made], check=True, timeout=60)
    assert linked.read_bytes() == sector
