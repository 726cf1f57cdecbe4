"""modifyvm's options: what they change, which are refused."""

import pytest

from vboxqemu import store
from vboxqemu.commands.modifyvm import apply
from vboxqemu.errors import InvalidArgument, NotSupported, ObjectNotFound, Syntax, VBoxError
from vboxqemu.schema import Vm


@pytest.fixture
def vm() -> Vm:
    return store.new_vm("a", "Debian_64")


def test_what_vagrant_sets_is_set(vm: Vm) -> None:
    words = (
        "--name box --memory 2048 --cpus 3 --macaddress1 080027aabbcc --nic2 none --nictype1 virtio "
        "--rtcuseutc on --natdnsproxy1 on --cableconnected1 on --uart1 0x3F8 4 --uartmode1 file /tmp/s "
        "--natpf1 ssh,tcp,127.0.0.1,2222,,22"
    )
    apply(vm, words.split())
    assert (vm["name"], vm["memory_mib"], vm["cpus"]) == ("box", 2048, 3)
    assert (vm["nics"][0]["mac"], vm["nics"][0]["model"], vm["nics"][1]["kind"]) == (
        "080027AABBCC",
        "virtio",
        "none",
    )
    assert vm["options"] == {"rtcuseutc": "on", "natdnsproxy1": "on"}
    assert (vm["uarts"][0]["io_base"], vm["uarts"][0]["irq"], vm["uarts"][0]["mode"]) == (0x3F8, 4, "file")
    assert vm["nics"][0]["forwards"][0]["guest_port"] == 22


def test_new_spelling_with_dashes_and_equals_signs_means_the_same(vm: Vm) -> None:
    apply(vm, ["--mac-address1=080027AABBCC", "--nat-pf1", "a,tcp,,80,,80", "--graphicscontroller=none"])
    assert vm["nics"][0]["mac"] == "080027AABBCC"
    assert vm["nics"][0]["forwards"][0]["name"] == "a"
    assert vm["options"]["graphicscontroller"] == "none"


def test_deleted_rule_is_gone_and_a_second_delete_fails(vm: Vm) -> None:
    apply(vm, ["--natpf1", "ssh,tcp,,2222,,22", "--natpf1", "delete", "ssh"])
    assert vm["nics"][0]["forwards"] == []
    with pytest.raises(ObjectNotFound):
        apply(vm, ["--natpf1", "delete", "ssh"])


def test_automatic_mac_is_one_of_virtualbox(vm: Vm) -> None:
    apply(vm, ["--macaddress1", "auto"])
    assert vm["nics"][0]["mac"].startswith("080027")
    assert len(vm["nics"][0]["mac"]) == 12


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("--colour red", Syntax),
        ("memory 5", Syntax),
        ("--memory", Syntax),
        ("--memory lots", InvalidArgument),
        ("--memory 0", InvalidArgument),
        ("--cpus 0", InvalidArgument),
        ("--acpi maybe", InvalidArgument),
        ("--nic1 hostonly", NotSupported),
        ("--bridgeadapter1 eth0", NotSupported),
        ("--nic1 carrier-pigeon", InvalidArgument),
        ("--nic9 nat", Syntax),
        ("--nictype1 rtl8139", InvalidArgument),
        ("--macaddress1 010027AABBCC", InvalidArgument),
        ("--macaddress1 12", InvalidArgument),
        ("--natpf1 ssh,tcp,127.0.0.1,2222,22", InvalidArgument),
        ("--natpf1 ssh,tcp,127.0.0.1,70000,,22", InvalidArgument),
        ("--natpf1 ssh,sctp,127.0.0.1,22,,22", InvalidArgument),
        ("--natpf1 ssh,tcp,localhost,22,,22", InvalidArgument),
        ("--natpf2 ssh,tcp,,22,,22", NotSupported),
        ("--uart9 off", Syntax),
        ("--uart1 0x3F8", Syntax),
        ("--uartmode1 pigeon", InvalidArgument),
        ("--name a/b", InvalidArgument),
    ],
)
def test_what_cannot_be_is_refused(vm: Vm, words: str, error: type[VBoxError]) -> None:
    with pytest.raises(error):
        apply(vm, words.split())


def test_two_rules_of_one_name_or_one_port_are_refused(vm: Vm) -> None:
    apply(vm, ["--natpf1", "a,tcp,,80,,80"])
    for rule in ("a,tcp,,81,,80", "b,tcp,,80,,81"):
        with pytest.raises(InvalidArgument):
            apply(vm, ["--natpf1", rule])
    apply(vm, ["--natpf1", "b,udp,,80,,80"])
