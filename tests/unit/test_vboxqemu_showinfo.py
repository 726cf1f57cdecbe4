"""The lines other programs read: the patterns are those Vagrant 2.3 and our client look for."""

import re
from pathlib import Path

from vboxqemu import showinfo, store
from vboxqemu.schema import Forward, Vm


def rule(name: str, host: str, port: int, guest: str, guest_port: int, protocol: str = "tcp") -> Forward:
    return {
        "name": name,
        "protocol": protocol,
        "host_ip": host,
        "host_port": port,
        "guest_ip": guest,
        "guest_port": guest_port,
    }


def vm() -> Vm:
    made = store.new_vm("web", "Debian_64")
    made["nics"][0]["forwards"] = [
        rule("ssh", "127.0.0.1", 2222, "", 22),
        rule("web", "", 80, "10.0.2.15", 8080),
    ]
    made["uarts"][0] = {"io_base": 0x3F8, "irq": 4, "mode": "file", "target": "/m/serial.log"}
    made["controllers"].append(
        {
            "name": "SATA Controller",
            "bus": "sata",
            "chip": "IntelAhci",
            "ports": 3,
            "bootable": True,
            "attachments": [
                {
                    "port": 1,
                    "device": 0,
                    "kind": "hdd",
                    "path": "/m/data.vdi",
                    "file": "/m/data.vdi",
                    "uuid": "0-1-2",
                    "format": "qcow2",
                }  # fmt: skip
            ],
        }
    )
    return made


def test_state_identity_and_hardware_are_there(tmp_path: Path) -> None:
    made = vm()
    text = showinfo.machine_readable(str(tmp_path), made)
    for line in (
        'name="web"',
        f'UUID="{made["uuid"]}"',
        'VMState="poweroff"',
        "memory=128",
        "cpus=1",
        f'macaddress1="{made["nics"][0]["mac"]}"',
        'nic1="nat"',
        'nic2="none"',
        'uart1="0x03f8,4"',
        'uartmode1="file,/m/serial.log"',
        'uart2="off"',
    ):
        assert line in text.splitlines()
    match = re.search(r'CfgFile="(.+?)"', text)
    assert match is not None
    assert Path(match[1]) == tmp_path / "vm.json"


def test_forwards_follow_the_adapter_they_belong_to(tmp_path: Path) -> None:
    rules = []
    adapter = 0
    for line in showinfo.machine_readable(str(tmp_path), vm()).splitlines():
        if nic := re.match(r'^nic(\d+)=".+?"$', line):
            adapter = int(nic[1])
        if rule := re.match(r'^Forwarding.+?="(.+?),.+?,(.*?),(.+?),.*?,(.+?)"$', line):
            rules.append((adapter, *rule.groups()))
    assert rules == [(1, "ssh", "127.0.0.1", "2222", "22"), (1, "web", "", "80", "8080")]


def test_attachments_are_named_by_controller_port_and_device(tmp_path: Path) -> None:
    lines = showinfo.machine_readable(str(tmp_path), vm()).splitlines()
    assert 'storagecontrollername0="SATA Controller"' in lines
    assert 'storagecontrollertype0="IntelAhci"' in lines
    assert '"SATA Controller-0-0"="none"' in lines
    assert '"SATA Controller-1-0"="/m/data.vdi"' in lines
    assert '"SATA Controller-ImageUUID-1-0"="0-1-2"' in lines


def test_option_that_was_set_is_shown_once_with_its_value(tmp_path: Path) -> None:
    made = vm()
    made["options"] = {"paravirtprovider": "kvm", "natdnsproxy1": "on"}
    text = showinfo.machine_readable(str(tmp_path), made)
    assert re.findall(r"^paravirtprovider=.*$", text, re.M) == ['paravirtprovider="kvm"']
    assert re.findall(r"^natdnsproxy1=.*$", text, re.M) == ['natdnsproxy1="on"']


def test_page_for_people_has_the_state_in_words(tmp_path: Path) -> None:
    text = showinfo.for_people(str(tmp_path), vm())
    assert re.search(r"^State: +powered off \(since ", text, re.M)
    assert "/m/data.vdi" in text
