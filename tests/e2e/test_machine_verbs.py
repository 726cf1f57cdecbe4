"""One machine's life through the command line, with Vagrant and a VM: what a user meets, faults included."""

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from registry_rig import free_port, private_authority, real_registry

from wherry.paths import paths

pytestmark = pytest.mark.vm

#: A busy host with an emulated CPU; the client's own limit is smaller, and its default is tested by hand.
START_SECONDS = "420"
CALL_SECONDS = 500


class Machine:
    """Runs `wherry machine VERB` in a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.folder = home / "machines" / "default"
        self.env = {**os.environ, "WHERRY_HOME": str(home), "WHERRY_CACHE": str(paths().cache)}
        for name in ("WHERRY_HOST", "DOCKER_HOST"):
            self.env.pop(name, None)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "wherry", "machine", *arguments]

    def run(self, *arguments: str, status: int = 0) -> "subprocess.CompletedProcess[str]":
        return self.wherry("machine", *arguments, status=status)

    def wherry(self, *arguments: str, status: int = 0) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [sys.executable, "-m", "wherry", *arguments],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=CALL_SECONDS,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        assert done.returncode == status, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *arguments: str, status: int = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", status=status).stdout)

    def start(self) -> Any:
        return self.json("start", "--timeout", START_SECONDS)

    def agent_pid(self) -> int:
        return int(json.loads((self.folder / "agent.json").read_text())["pid"])

    def hypervisor_pid(self) -> int:
        """QEMU's process of this home."""
        (file,) = (self.home / "vboxqemu" / "machines").glob("*/qemu.pid")
        return int(file.read_text())


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    found = Machine(tmp_path_factory.mktemp("h"))
    yield found
    if (found.folder / "machine.json").exists():
        found.run("rm", "--force")


# In this order: each step begins where the one before left the machine.


def test_01_verbs_on_a_machine_that_is_not_there_say_how_to_make_it(machine: Machine) -> None:
    for verb in ("start", "stop", "status", "rm", "inspect", "logs", "ssh", "restart"):
        assert "`wherry machine init` makes it" in machine.run(verb, status=1).stderr
    assert machine.json("list") == []


def test_02_init_makes_a_stopped_machine(machine: Machine) -> None:
    record = machine.json("init", "--cpus", "2", "--memory", "1024", "--disk", "4")
    assert (record["cpus"], record["memory_mib"], record["disk_gib"]) == (2, 1024, 4)
    assert machine.json("status", status=3)["state"] == "stopped"
    assert "exists already" in machine.run("init", status=1).stderr


def test_03_start_gives_the_seconds_of_each_stage(machine: Machine) -> None:
    started = machine.start()
    assert list(started["seconds"]) == ["hypervisor", "kernel", "ready", "tunnel", "api"]
    assert machine.json("status")["engine"] == "running"
    assert machine.start()["already_running"] is True


def test_04_the_docker_command_reaches_the_engine_through_the_socket(machine: Machine) -> None:
    endpoint = machine.json("status")["endpoint"]
    done = subprocess.run(
        ["docker", "-H", endpoint, "version", "--format", "{{.Server.Version}}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == machine.json("inspect")["record"]["version"]


def test_05_ssh_runs_commands_and_gives_their_status(machine: Machine) -> None:
    assert machine.run("ssh", "--", "echo", "a  b").stdout == "a  b\n"
    machine.run("ssh", "--", "exit 7", status=7)


def test_05_set_lets_the_engine_trust_a_registrys_own_authority(machine: Machine, tmp_path: Path) -> None:
    # The host's loopback, as the guest reaches it.
    port = free_port()
    registry = f"10.0.2.2:{port}"
    authority = private_authority(tmp_path / "ca", "10.0.2.2")
    rootfs = tmp_path / "rootfs.tar"
    with tarfile.open(rootfs, "w") as archive:
        archive.add("/bin/busybox", "bin/busybox")
    with real_registry(tmp_path / "registry", address=f"127.0.0.1:{port}", authority=authority):
        machine.wherry("import", str(rootfs), f"{registry}/own/box:1")
        container = machine.wherry(
            "run", "-d", "--network", "none", f"{registry}/own/box:1", "/bin/busybox", "sleep", "10000"
        ).stdout.strip()
        refused = machine.wherry("push", f"{registry}/own/box:1", status=1)
        assert "failed to verify certificate" in refused.stderr
        assert machine.json("set") == {"options": {}, "certificates": {}}

        words = ("--registry-ca", f"{registry}={authority.ca}", "--registry-mirror", "https://mirror.example")
        wanted = {
            "options": {"registry-mirrors": ["https://mirror.example"]},
            "certificates": {registry: ["ca.crt"]},
        }
        assert machine.json("set", *words) == wanted
        machine.wherry("push", f"{registry}/own/box:1")
        digest = machine.wherry("inspect", "-f", "{{index .RepoDigests 0}}", f"{registry}/own/box:1")
        machine.wherry("pull", digest.stdout.strip())
        assert "https://mirror.example" in machine.wherry("info").stdout
        running = machine.wherry("ps", "-q", "--no-trunc").stdout.split()
        assert running == [container], "it went on while the engine was restarted"
        assert machine.json("set") == wanted
        assert "ftp://x" in machine.run("set", "--registry-mirror", "ftp://x", status=1).stderr

        forgotten = machine.json("set", "--registry-ca", f"{registry}=", "--registry-mirror", "")
        assert forgotten == {"options": {}, "certificates": {}}
        refused = machine.wherry("pull", digest.stdout.strip(), status=1)
        assert "failed to verify certificate" in refused.stderr
    machine.wherry("rm", "-f", container)


def test_06_a_second_agent_never_runs(machine: Machine) -> None:
    pid = machine.agent_pid()
    second = subprocess.run(
        [sys.executable, "-m", "wherry", "agent"],
        env=machine.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 1
    assert "runs already" in second.stderr
    assert machine.agent_pid() == pid


def test_07_a_killed_agent_is_replaced_by_start(machine: Machine) -> None:
    os.kill(machine.agent_pid(), signal.SIGKILL)
    time.sleep(0.5)
    assert machine.json("status", status=3)["engine"] == "unreachable"
    started = machine.start()
    assert "kernel" not in started["seconds"], "the VM was not booted again"
    assert machine.json("status")["engine"] == "running"


def test_08_a_saved_machine_resumes(machine: Machine) -> None:
    machine.run("ssh", "--", "sudo touch /run/mark")
    assert machine.json("stop", "--save")["state"] == "saved"
    assert not (machine.home / "run" / "default.sock").exists()
    assert machine.start()["resumed"] is True
    machine.run("ssh", "--", "test -e /run/mark")


def test_09_a_resumed_guests_clock_is_right_again(machine: Machine) -> None:
    machine.json("stop", "--save")
    time.sleep(3)
    machine.start()
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        guest = float(machine.run("ssh", "--", "date +%s.%N").stdout)
        if abs(guest - time.time()) < 2:
            return
    pytest.fail("the guest's clock stayed behind")


def test_10_rm_of_a_running_machine_is_refused(machine: Machine) -> None:
    assert "--force" in machine.run("rm", status=1).stderr
    assert machine.json("status")["engine"] == "running"


def test_11_after_the_hypervisor_was_killed_a_start_can_be_interrupted_and_goes_on(machine: Machine) -> None:
    os.kill(machine.hypervisor_pid(), signal.SIGKILL)
    deadline = time.monotonic() + 60
    while machine.run("status", status=3) and machine.json("status", status=3)["state"] != "aborted":
        assert time.monotonic() < deadline
    first = subprocess.Popen(
        machine.command("start", "--timeout", START_SECONDS),
        env=machine.env,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    time.sleep(4)
    os.killpg(first.pid, signal.SIGINT)
    _, said = first.communicate(timeout=60)
    assert first.returncode == 130
    assert b"interrupted" in said
    machine.start()
    assert machine.json("status")["engine"] == "running"


def test_12_stop_is_clean_and_rm_keeps_the_data_on_demand(machine: Machine) -> None:
    stopped = machine.json("stop", "--grace", "240")
    assert stopped == {"name": "default", "state": "stopped", "forced": False}
    assert machine.json("stop")["state"] == "stopped"
    kept = machine.json("rm", "--keep-data")["kept"]
    assert Path(kept).exists()
    assert machine.json("list") == []
    machine.run("init")
    assert machine.json("rm")["kept"] is None
    assert not machine.folder.exists()


def test_13_a_box_that_does_not_boot_is_said_with_its_log_and_leaves_nothing_on(machine: Machine) -> None:
    machine.run("init")
    images = list((machine.home / "vboxqemu" / "machines").glob("*/box-disk*.vmdk"))
    assert images
    for image in images:
        subprocess.run(
            ["qemu-io", "-f", "qcow2", "-c", "write -z 0 1M", str(image)],
            check=True,
            timeout=60,
            capture_output=True,
        )
    failed = machine.run("start", "--timeout", "12", status=1)
    assert 'did not get through the stage "kernel"' in failed.stderr
    assert machine.json("status", status=3)["state"] == "stopped"
    machine.run("rm")
