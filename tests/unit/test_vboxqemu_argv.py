"""QEMU's command line as a function of the VM's record."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from vboxqemu import _posix, argv, store
from vboxqemu.errors import NotSupported
from vboxqemu.schema import Attachment, Forward, Vm


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
    made = store.new_vm("web, one", "Debian_64")
    made["nics"][0]["mac"] = "080027AABBCC"
    made["controllers"].append(
        {
            "name": "SATA Controller",
            "bus": "sata",
            "chip": "IntelAhci",
            "ports": 3,
            "bootable": True,
            "attachments": [
                attachment(1, "/m/data, big.vdi", "qcow2"),
                attachment(0, "/m/system.vmdk", "qcow2"),
            ],
        }
    )
    return made


def attachment(port: int, path: str, driver: str) -> Attachment:
    return {
        "port": port, "device": 0, "kind": "hdd", "path": path, "file": path, "uuid": "u", "format": driver,
    }  # fmt: skip


def words(made: Vm, *, incoming: str = "", search: Sequence[str] = ()) -> list[str]:
    return argv.command_line(
        made,
        qemu="qemu",
        accel="tcg,thread=multi",
        cpu="max",
        control="socket,id=qmp",
        incoming=incoming,
        search=search,
    )


def after(line: list[str], option: str) -> list[str]:
    return [line[at + 1] for at, word in enumerate(line) if word == option]


def test_comma_in_a_name_does_not_end_the_option() -> None:
    assert after(words(vm()), "-name") == ["guest=web,, one"]


def test_disks_are_on_their_ports_in_the_order_of_the_ports() -> None:
    line = words(vm())
    disks = [json.loads(each) for each in after(line, "-blockdev")]
    assert [disk["file"]["filename"] for disk in disks] == ["/m/system.vmdk", "/m/data, big.vdi"]
    drives = [each for each in after(line, "-device") if each.startswith("ide-hd")]
    assert [drive.split(",")[1] for drive in drives] == ["bus=storage0.0", "bus=storage0.1"]
    boot_order = [int(drive.rpartition("bootindex=")[2]) for drive in drives]
    assert boot_order == sorted(boot_order)


def test_port_that_the_controller_does_not_have_is_refused() -> None:
    made = vm()
    made["controllers"][0]["attachments"].append(attachment(6, "/m/x.vdi", "qcow2"))
    with pytest.raises(NotSupported, match="ports 0 to 5"):
        words(made)


def test_nat_gives_the_addresses_of_virtualbox_and_forwards_on_the_loopback() -> None:
    made = vm()
    made["nics"][0]["forwards"] = [
        rule("ssh", "127.0.0.1", 2222, "", 22),
        rule("dns", "", 53, "10.0.2.15", 53, "udp"),
        rule("open", "0.0.0.0", 80, "", 80),  # noqa: S104 - a rule that asks for it
    ]
    (network,) = after(words(made), "-netdev")
    assert "net=10.0.2.0/24,dhcpstart=10.0.2.15" in network
    assert "hostfwd=tcp:127.0.0.1:2222-:22" in network
    assert "hostfwd=udp:127.0.0.1:53-10.0.2.15:53" in network
    assert "hostfwd=tcp:0.0.0.0:80-:80" in network
    assert "mac=08:00:27:aa:bb:cc" in " ".join(words(made))


def test_the_lease_has_the_hosts_search_domains_unless_that_is_off() -> None:
    made = vm()
    (network,) = after(words(made, search=["corp.example", "lan.", "a,restrict=on", "-x"]), "-netdev")
    assert "dnssearch=corp.example,dnssearch=lan" in network
    assert "restrict" not in network
    assert network.count("dnssearch") == 2
    made["options"]["natdnspassdomain1"] = "off"
    (network,) = after(words(made, search=["corp.example"]), "-netdev")
    assert "dnssearch" not in network


def test_search_domains_are_those_of_the_last_line_that_has_some(tmp_path: Path) -> None:
    conf = tmp_path / "resolv.conf"
    assert _posix.search_domains(str(conf)) == []
    conf.write_text("domain old.example\nnameserver 192.0.2.1\n\n# search no\nsearch one.example  two\n")
    assert _posix.search_domains(str(conf)) == ["one.example", "two"]


def test_adapter_of_kind_none_is_not_there() -> None:
    made = vm()
    made["nics"][0]["kind"] = "none"
    assert after(words(made), "-netdev") == []


def test_serial_file_is_emptied_by_a_start_and_appended_to_by_a_resume() -> None:
    made = vm()
    made["uarts"][0] = {"io_base": 0x3F8, "irq": 4, "mode": "file", "target": "/m/serial,log"}
    assert "file,id=uart1,path=/m/serial,,log,append=off" in after(words(made), "-chardev")
    resumed = words(made, incoming="fd:7")
    assert "file,id=uart1,path=/m/serial,,log,append=on" in after(resumed, "-chardev")
    assert resumed[-3:] == ["-S", "-incoming", "fd:7"]


def test_nothing_is_there_by_default() -> None:
    line = words(store.new_vm("a", "Linux_64"))
    assert "-nodefaults" in line
    assert not any("usb" in each and "usb=off" not in each for each in line)
