"""Real Vagrant, the real box, a real VM on vboxqemu: the verbs a user of Vagrant has.

One VM for the whole module, since a boot under emulation takes most of a minute; the tests run in order.
"""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import platformdirs
import pytest

from vboxqemu import shim

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.vm,
    pytest.mark.skipif(shutil.which("vagrant") is None, reason="Vagrant is not installed"),
    pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="QEMU is not installed"),
]


def find_box() -> str:
    """WHERRY_BOX, or what boxes/build.py built last."""
    named = os.environ.get("WHERRY_BOX")
    if named:
        return named
    cache = Path(os.environ.get("WHERRY_CACHE") or platformdirs.user_cache_path("wherry", appauthor=False))
    pointers = sorted((cache / "boxes").glob("*-amd64.json"), key=lambda path: path.stat().st_mtime)
    if not pointers:
        pytest.skip("no box: run `make box`")
    return str(json.loads(pointers[-1].read_text())["box"])


class Checkout:
    """A copy of the Vagrantfile in a folder of its own, as a bare `vagrant up` in a clone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copy(ROOT / "Vagrantfile", folder)
        self.vbox = shim.install(folder / "bin")
        self.env = {
            name: value for name, value in os.environ.items() if not name.startswith(("WHERRY_", "VAGRANT_"))
        }
        self.env |= {
            "WHERRY_BOX": find_box(),
            "VBOXQEMU_HOME": str(folder / "vms"),
            "VAGRANT_HOME": str(folder / "vagrant-home"),
            "VAGRANT_CHECKPOINT_DISABLE": "1",
            "VAGRANT_DEFAULT_PROVIDER": "virtualbox",
            "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        }

    def vagrant(self, *words: str, seconds: float = 100.0) -> str:
        """Runs Vagrant and returns its output. Fails with it when the exit status is not 0."""
        done = subprocess.run(
            ["vagrant", *words],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, f"vagrant {words}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    def status(self) -> str:
        """The state as `vagrant status` tells it."""
        lines = self.vagrant("status", "--machine-readable").splitlines()
        (state,) = [line.split(",")[3] for line in lines if ",state," in line]
        return state

    def info(self, pattern: str) -> str:
        match = re.search(pattern, self.manage("showvminfo", "wherry-vagrant", "--machinereadable"), re.M)
        assert match is not None
        return match[1]

    def state(self) -> str:
        return self.info(r'^VMState="(.+)"$')

    def ssh(self, command: str) -> str:
        """Runs a command in the guest, without the seconds that `vagrant ssh` adds."""
        port = self.info(r'^Forwarding\(0\)="ssh,tcp,127.0.0.1,(\d+),,22"$')
        known = (
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            f"UserKnownHostsFile={os.devnull}",
            "-o",
            "LogLevel=ERROR",
        )
        done = subprocess.run(
            ["ssh", *known, "-i", self.disks / "id_ed25519", "-p", port, "wherry@127.0.0.1", command],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout.strip()

    def manage(self, *words: str) -> str:
        done = subprocess.run(
            [self.vbox, *words], env=self.env, capture_output=True, text=True, timeout=60, check=True
        )
        return done.stdout

    @property
    def disks(self) -> Path:
        return self.folder / ".vagrant" / "wherry"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    checkout = Checkout(tmp_path_factory.mktemp("checkout"))
    yield checkout
    for line in checkout.manage("list", "runningvms").splitlines():
        checkout.manage("controlvm", line.partition("{")[2].rstrip("}"), "poweroff")


def test_up_ends_with_a_machine_that_answers_over_ssh(checkout: Checkout) -> None:
    checkout.vagrant("up", seconds=400)
    assert checkout.status() == "running"
    assert checkout.vagrant("ssh", "-c", "id -un; sudo -n id -u").split() == ["wherry", "0"]
    assert "wherry: ready" in (checkout.disks / "serial.log").read_text()


def test_guest_has_the_address_that_virtualbox_gives(checkout: Checkout) -> None:
    assert "10.0.2.15" in checkout.ssh("ip -4 -o addr show")


def test_data_disk_is_mounted_where_the_engine_keeps_its_data(checkout: Checkout) -> None:
    label = "sudo blkid -o value -s LABEL $(findmnt -n -o SOURCE /var/lib/wherry)"
    assert checkout.ssh(label) == "wherry-data"
    checkout.ssh("sudo sh -c 'echo kept >/var/lib/wherry/note; sync'")


def test_suspend_and_resume_keep_processes_and_time(checkout: Checkout) -> None:
    boot = checkout.ssh("cat /proc/sys/kernel/random/boot_id")
    sleeper = checkout.ssh("nohup sleep 1000 >/dev/null 2>&1 & echo $!")
    checkout.vagrant("suspend")
    assert checkout.state() == "saved"
    checkout.vagrant("resume")
    assert checkout.state() == "running"
    assert checkout.ssh("cat /proc/sys/kernel/random/boot_id") == boot
    assert checkout.ssh(f"ps -o comm= -p {sleeper}") == "sleep"
    # The clock chip went on with the host while the VM was saved; the system clock follows the client.
    checkout.ssh(f"sudo /usr/lib/wherry/clock {time.time()}")
    assert abs(float(checkout.ssh("date +%s.%N")) - time.time()) < 10


def test_halt_switches_the_guest_off_in_order(checkout: Checkout) -> None:
    checkout.vagrant("halt")
    assert checkout.state() == "poweroff"
    checkout.vagrant("up", seconds=400)
    assert checkout.ssh("cat /var/lib/wherry/note") == "kept"


def test_killed_hypervisor_is_seen_and_up_works_again(checkout: Checkout) -> None:
    (pid,) = (checkout.folder / "vms" / "machines").glob("*/qemu.pid")
    os.kill(int(pid.read_text()), 9)
    deadline = time.monotonic() + 10
    while checkout.state() != "aborted":
        assert time.monotonic() < deadline
    checkout.vagrant("up", seconds=400)
    assert checkout.ssh("cat /var/lib/wherry/note") == "kept"


def test_destroy_removes_the_vm_and_spares_data_disk_and_seed(checkout: Checkout) -> None:
    checkout.vagrant("destroy", "-f")
    assert checkout.status() == "not_created"
    assert checkout.manage("list", "vms") == ""
    assert checkout.manage("list", "hdds") == ""
    assert (checkout.disks / "data.vdi").exists()
    assert (checkout.disks / "seed.vmdk").exists()
    assert list((checkout.folder / "vms" / "machines").glob("*/*")) == []


def test_create_only_leaves_a_complete_vm_that_was_not_booted(checkout: Checkout) -> None:
    checkout.env["WHERRY_CREATE_ONLY"] = "1"
    try:
        checkout.vagrant("up")
        assert checkout.state() == "poweroff"
        assert 'uart1="0x03f8,4"' in checkout.manage("showvminfo", "wherry-vagrant", "--machinereadable")
        checkout.vagrant("destroy", "-f")
    finally:
        del checkout.env["WHERRY_CREATE_ONLY"]
