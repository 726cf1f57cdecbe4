"""The VirtualBox provider against a scripted VBoxManage: what it says when things go wrong."""

import json
import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from test_machine_record import make

from wherry.config import Hypervisor
from wherry.errors import MachineProblem
from wherry.machine import sshport, vboxmanage
from wherry.machine.hypervisor import Choice
from wherry.machine.provider import SshEndpoint
from wherry.machine.state import MachineState
from wherry.machine.vagrant import VagrantRunner
from wherry.machine.vboxmanage import NoSuchVm, VBoxManage
from wherry.machine.virtualbox import VirtualBoxProvider
from wherry.paths import MachinePaths

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the scripted program is a POSIX script")

#: Reads script.json (a list of {match, out, err, status, state?}), records the call, plays the first match.
PROGRAM = """\
#!{python} -SE
import json, pathlib, sys
folder = pathlib.Path(__file__).parent
words = sys.argv[1:]
with (folder / "calls.jsonl").open("a") as calls:
    calls.write(json.dumps(words) + "\\n")
script = json.loads((folder / "script.json").read_text())
for number, step in enumerate(script):
    if words[: len(step["match"])] == step["match"]:
        if step.get("once"):
            del script[number]
            (folder / "script.json").write_text(json.dumps(script))
        if "state" in step:
            (folder / "state").write_text(step["state"])
        sys.stdout.write(step.get("out", ""))
        sys.stderr.write(step.get("err", ""))
        sys.exit(step.get("status", 0))
if words[0] == "showvminfo":
    state = (folder / "state").read_text()
    if not state:
        sys.stderr.write("VBoxManage: error: Could not find a registered machine named 'x'\\n")
        sys.exit(1)
    print('name="x"\\nVMState="' + state + '"\\nmemory=2048\\nForwarding(0)="ssh,tcp,127.0.0.1,{port},,22"')
    print('"SATA Controller-1-0"="/data.vdi"')
"""


@dataclass
class Scripted:
    folder: Path
    port: int

    def script(self, *steps: dict[str, Any]) -> None:
        (self.folder / "script.json").write_text(json.dumps(list(steps)))

    def state(self, state: str) -> None:
        (self.folder / "state").write_text(state)

    def calls(self, verb: str = "") -> list[list[str]]:
        try:
            lines = (self.folder / "calls.jsonl").read_text().splitlines()
        except FileNotFoundError:
            return []
        return [words for words in map(json.loads, lines) if not verb or words[0] == verb]

    @property
    def tool(self) -> VBoxManage:
        return VBoxManage(self.folder / "VBoxManage", {})


@pytest.fixture
def vbox(tmp_path: Path) -> Scripted:
    folder = tmp_path / "bin"
    folder.mkdir()
    port = sshport.pick()
    program = folder / "VBoxManage"
    text = PROGRAM.replace("{python}", sys.executable).replace("{port}", str(port))
    program.write_text(text)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    found = Scripted(folder, port)
    found.script()
    found.state("poweroff")
    return found


@pytest.fixture
def provider(vbox: Scripted, tmp_path: Path) -> VirtualBoxProvider:
    files = MachinePaths(folder=tmp_path / "default", socket=tmp_path / "s")
    files.folder.mkdir()
    choice = Choice(Hypervisor.VIRTUALBOX, vbox.tool)
    vagrant = VagrantRunner(make(), files, home=tmp_path / "home", env={})
    return VirtualBoxProvider(make(), files, choice=choice, vagrant=vagrant, emulated=False)


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("poweroff", MachineState.STOPPED),
        ("saved", MachineState.SAVED),
        ("aborted", MachineState.ABORTED),
        ("running", MachineState.RUNNING),
        ("paused", MachineState.PAUSED),
        ("gurumeditation", MachineState.BROKEN),
        ("restoring", MachineState.BUSY),
        ("something new", MachineState.BUSY),
        ("", MachineState.ABSENT),
    ],
)
def test_the_state_is_what_the_hypervisor_says(
    vbox: Scripted, provider: VirtualBoxProvider, word: str, state: MachineState
) -> None:
    vbox.state(word)
    assert provider.state() is state


def test_an_error_on_stderr_counts_although_the_status_is_0(vbox: Scripted) -> None:
    vbox.script({"match": ["startvm"], "err": "VBoxManage: error: The VM session was closed\n"})
    with pytest.raises(MachineProblem, match="The VM session was closed"):
        vbox.tool.call("startvm", "x")


def test_progress_on_stderr_is_no_error(vbox: Scripted) -> None:
    vbox.script({"match": ["import"], "err": "0%...10%...100%\n", "out": "done"})
    assert vbox.tool.call("import") == "done"


def test_an_unknown_vm_has_an_error_of_its_own(vbox: Scripted) -> None:
    vbox.state("")
    with pytest.raises(NoSuchVm):
        vbox.tool.info("x")


def test_a_session_lock_is_waited_for(vbox: Scripted) -> None:
    vbox.script(
        {
            "match": ["modifyvm"],
            "once": True,
            "status": 1,
            "err": "VBoxManage: error: The machine 'x' is already locked for a session (or being unlocked)\n",
        }
    )
    vbox.tool.call("modifyvm", "x")
    assert len(vbox.calls("modifyvm")) == 2


def test_a_hypervisor_that_hangs_is_given_up(vbox: Scripted) -> None:
    (vbox.folder / "VBoxManage").write_text("#!/bin/sh\nexec sleep 30\n")
    with pytest.raises(MachineProblem, match="did not answer in 0.3 s"):
        vbox.tool.call("list", "vms", timeout_seconds=0.3)


def test_a_program_that_is_gone_is_a_machine_problem(vbox: Scripted) -> None:
    (vbox.folder / "VBoxManage").unlink()
    with pytest.raises(MachineProblem, match="cannot be run"):
        vbox.tool.call("list", "vms")


def test_the_ssh_forward_is_read_from_the_hypervisor(vbox: Scripted, provider: VirtualBoxProvider) -> None:
    assert provider.ssh_endpoint() == SshEndpoint("127.0.0.1", vbox.port)


def test_starting_a_running_vm_is_a_success_without_a_call(
    vbox: Scripted, provider: VirtualBoxProvider
) -> None:
    vbox.state("running")
    provider.start()
    assert vbox.calls("startvm") == []


@pytest.mark.parametrize("word", ["poweroff", "aborted", "saved"])
def test_start_works_from_every_state_that_is_off(
    vbox: Scripted, provider: VirtualBoxProvider, word: str
) -> None:
    vbox.state(word)
    provider.start()
    assert vbox.calls("startvm") == [["startvm", "wherry-default", "--type", "headless"]]


def test_a_paused_vm_is_resumed(vbox: Scripted, provider: VirtualBoxProvider) -> None:
    vbox.state("paused")
    provider.start()
    assert vbox.calls("controlvm") == [["controlvm", "wherry-default", "resume"]]


def test_the_serial_log_of_an_earlier_boot_is_gone_before_a_cold_start_only(
    vbox: Scripted, provider: VirtualBoxProvider, tmp_path: Path
) -> None:
    log = tmp_path / "default" / "serial.log"
    log.write_text("old")
    vbox.state("saved")
    provider.start()
    assert log.exists()
    vbox.state("poweroff")
    provider.start()
    assert not log.exists()


def test_a_start_without_a_vm_says_how_to_make_it(vbox: Scripted, provider: VirtualBoxProvider) -> None:
    vbox.state("")
    with pytest.raises(MachineProblem, match="machine init"):
        provider.start()


def test_a_taken_ssh_port_is_exchanged(vbox: Scripted, provider: VirtualBoxProvider, tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", vbox.port)):
        provider.start()
    removed, added = vbox.calls("modifyvm")
    assert removed[2:] == ["--natpf1", "delete", "ssh"]
    rule = added[3].split(",")
    assert rule[:3] == ["ssh", "tcp", "127.0.0.1"]
    assert rule[5] == "22"
    assert int(rule[3]) != vbox.port
    settings = json.loads((tmp_path / "default" / "vagrant.json").read_text())
    assert settings["ssh_port"] == int(rule[3]), "a later `vagrant` must not bring the old port back"


def test_a_guest_that_ignores_the_power_button_has_its_power_cut(
    vbox: Scripted, provider: VirtualBoxProvider
) -> None:
    vbox.state("running")
    vbox.script({"match": ["controlvm", "wherry-default", "poweroff"], "state": "poweroff"})
    assert provider.stop(grace_seconds=0.5) is True
    assert [words[2] for words in vbox.calls("controlvm")] == ["acpipowerbutton", "poweroff"]


def test_a_guest_that_ends_in_time_keeps_its_power(vbox: Scripted, provider: VirtualBoxProvider) -> None:
    vbox.state("running")
    vbox.script({"match": ["controlvm", "wherry-default", "acpipowerbutton"], "state": "poweroff"})
    assert provider.stop(grace_seconds=10) is False
    assert provider.stop(grace_seconds=10) is False, "stopping again is a success"


def test_a_press_again_that_meets_a_vm_going_off_is_no_fault(
    vbox: Scripted, provider: VirtualBoxProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wherry.machine.virtualbox.PRESS_AGAIN_SECONDS", 0.3)
    vbox.state("running")
    press = ["controlvm", "wherry-default", "acpipowerbutton"]
    vbox.script(
        {"match": press, "once": True},
        {"match": press, "once": True, "status": 1, "err": "VBoxManage: error: the control socket is gone\n"},
        {"match": press, "state": "poweroff"},
    )
    assert provider.stop(grace_seconds=20) is False


def test_a_power_button_that_does_not_work_is_said(vbox: Scripted, provider: VirtualBoxProvider) -> None:
    vbox.state("running")
    vbox.script({"match": ["controlvm"], "status": 1, "err": "VBoxManage: error: no ACPI\n"})
    with pytest.raises(MachineProblem, match="no ACPI"):
        provider.stop(grace_seconds=20)


def test_a_vm_that_stops_by_itself_while_its_power_is_cut_is_fine(
    vbox: Scripted, provider: VirtualBoxProvider
) -> None:
    vbox.state("running")
    vbox.script(
        {
            "match": ["controlvm", "wherry-default", "poweroff"],
            "state": "poweroff",
            "status": 1,
            "err": "VBoxManage: error: Invalid machine state: PoweredOff\n",
        }
    )
    assert provider.stop(grace_seconds=0) is True


def test_deleting_takes_the_data_disk_off_the_vm_first(
    vbox: Scripted, provider: VirtualBoxProvider, tmp_path: Path
) -> None:
    disk = tmp_path / "default" / "data.vdi"
    disk.touch()
    vbox.script({"match": ["unregistervm"], "state": ""})
    provider.delete(keep_data=True)
    verbs = [words[0] for words in vbox.calls() if words[0] in ("storageattach", "unregistervm")]
    assert verbs == ["storageattach", "unregistervm"]
    assert disk.exists()
    provider.delete(keep_data=False)
    assert not disk.exists()


def test_a_stranger_vm_of_the_same_name_is_left_alone(vbox: Scripted, provider: VirtualBoxProvider) -> None:
    with pytest.raises(MachineProblem, match="already has a VM"):
        provider.create()
    assert vbox.calls("unregistervm") == []


def test_machine_readable_output_is_parsed_with_and_without_quotes() -> None:
    text = 'name="a \\"b\\""\nmemory=2048\n"SATA Controller-0-0"="/x=y.vmdk"\nVMState="running"\r\nnoise\n'
    info = vboxmanage.parse_info(text)
    assert info["memory"] == "2048"
    assert info["SATA Controller-0-0"] == "/x=y.vmdk"
    assert info["VMState"] == "running"
