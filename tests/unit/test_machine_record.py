"""Records, names, seeds, serial logs, configuration: the parts without a hypervisor."""

import io
import json
import stat
import tarfile
from pathlib import Path

import paramiko
import pytest

from wherry import config
from wherry.config import Hypervisor
from wherry.errors import MachineProblem, UsageProblem
from wherry.machine import keys, record, seed, serial
from wherry.machine.guard import held, is_held
from wherry.machine.record import MachineRecord, check_name
from wherrywire.serialline import Booted, Ready, encode


def make(name: str = "default") -> MachineRecord:
    return MachineRecord(
        name=name,
        created="2026-01-01T00:00:00Z",
        version="0.1.0",
        hypervisor=Hypervisor.VBOXQEMU,
        cpus=2,
        memory_mib=2048,
        disk_gib=60,
        ssh_port=2222,
        box="/box",
        box_sha256="ab" * 32,
    )


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "machine.json"
    record.save(make(), file)
    assert record.load(file) == make()
    assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0 or not hasattr(stat, "S_ISUID")


def test_a_record_of_another_schema_says_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "machine.json"
    file.write_text(json.dumps({**make().to_json(), "schema": 99}))
    with pytest.raises(MachineProblem, match="schema 1"):
        record.load(file)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"schema": 1}'])
def test_a_damaged_record_is_a_machine_problem(tmp_path: Path, text: str) -> None:
    file = tmp_path / "machine.json"
    file.write_text(text)
    with pytest.raises(MachineProblem, match="remove"):
        record.load(file)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    record.write_json(file, {"a": 1})
    with pytest.raises(TypeError):
        record.write_json(file, {"a": object()})
    assert json.loads(file.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("name", ["", "../x", "a b", "-x", "x" * 41, "ä", "a/b", ".x"])
def test_a_name_that_could_leave_its_folder_is_refused(name: str) -> None:
    with pytest.raises(UsageProblem, match="cannot be a machine's name"):
        check_name(name)


def test_boxes_with_other_content_have_other_names() -> None:
    from dataclasses import replace

    assert make().box_name != replace(make(), box_sha256="cd" * 32).box_name


def test_the_seed_begins_with_a_tar_whose_first_member_is_the_document(tmp_path: Path) -> None:
    seed.write(tmp_path / "seed.vmdk", seed.seed_document("my_db"), "ssh-ed25519 AAAA x\n")
    raw = (tmp_path / "seed-flat.img").read_bytes()
    assert len(raw) % (1024 * 1024) == 0
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        assert tar.getnames() == ["seed.json", "authorized_keys"]
        document = tar.extractfile("seed.json")
        lines = tar.extractfile("authorized_keys")
        assert document is not None
        assert lines is not None
        assert json.load(document) == {"schema": 1, "name": "my_db", "hostname": "my-db"}
        assert lines.read() == b"ssh-ed25519 AAAA x\n"
    text = (tmp_path / "seed.vmdk").read_text()
    assert f'RW {len(raw) // 512} FLAT "seed-flat.img" 0' in text
    assert 'createType="monolithicFlat"' in text


def test_each_seed_has_an_id_of_its_own(tmp_path: Path) -> None:
    for name in ("a", "b"):
        seed.write(tmp_path / f"{name}.vmdk", seed.seed_document(name), "key")
    first, second = ((tmp_path / f"{name}.vmdk").read_text() for name in ("a", "b"))
    uuid = next(line for line in first.splitlines() if "uuid.image" in line)
    assert uuid not in second, "VirtualBox refuses two disks with one id"


def test_a_key_pair_can_be_read_by_ssh(tmp_path: Path) -> None:
    line = keys.make_key_pair(tmp_path / "k", tmp_path / "k.pub", comment="c")
    key = paramiko.Ed25519Key.from_private_key_file(str(tmp_path / "k"))
    assert line == f"ssh-ed25519 {key.get_base64()} c"
    assert (tmp_path / "k.pub").read_text() == line + "\n"


def test_serial_lines_are_found_however_they_are_cut(tmp_path: Path) -> None:
    log = tmp_path / "serial.log"
    reader = serial.SerialReader(log)
    assert reader.poll() == []
    ready = Ready("0.1.0", "SHA256:x")
    text = ("[ 0.1] kernel\r\n" + encode(Booted()) + "\r\n\x1b[0m" + encode(ready) + "\r\n").encode()
    found = []
    for byte in range(len(text)):
        with log.open("ab") as output:
            output.write(text[byte : byte + 1])
        found += reader.poll()
    assert found == [Booted(), ready]


def test_a_serial_log_that_begins_anew_is_read_anew(tmp_path: Path) -> None:
    log = tmp_path / "serial.log"
    log.write_text("noise of an earlier boot\n" + encode(Booted()) + "\n")
    reader = serial.SerialReader(log)
    assert reader.poll() == [Booted()]
    log.write_text(encode(Booted()) + "\n")
    assert reader.poll() == [Booted()]


def test_the_tail_of_a_panic_shows_its_cause_and_not_the_registers(tmp_path: Path) -> None:
    log = tmp_path / "serial.log"
    registers = "".join(f"R{number:02}: 0\n" for number in range(40))
    log.write_text(f"mount: no such device\n[1.0] {serial.PANIC}: killed init\n{registers}")
    assert "no such device" in serial.tail(log)
    assert "killed init" in serial.tail(log)


def test_the_tail_cannot_move_the_cursor(tmp_path: Path) -> None:
    log = tmp_path / "serial.log"
    log.write_text("a\x1b[2Jb\n")
    assert serial.tail(log) == "a[2Jb"


def test_a_lock_is_held_until_its_with_ends(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    assert not is_held(file)
    with held(file, wait_seconds=0, busy="busy"):
        assert is_held(file)
        with pytest.raises(MachineProblem, match="busy"), held(file, wait_seconds=0.2, busy="busy"):
            pytest.fail("two hold it")
    assert not is_held(file)


def test_without_a_config_file_there_are_defaults(tmp_path: Path) -> None:
    found = config.load(tmp_path / "config.json").machine
    assert found.memory_mib == config.DEFAULT_MEMORY_MIB
    assert 1 <= found.cpus <= config.MAX_DEFAULT_CPUS
    assert found.hypervisor is None


def test_a_config_file_is_used(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text('{"machine": {"cpus": 3, "hypervisor": "vboxqemu"}}')
    found = config.load(file).machine
    assert found.cpus == 3
    assert found.hypervisor is Hypervisor.VBOXQEMU


def test_all_faults_of_a_config_file_are_named_at_once(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text('{"machine": {"cpus": 0, "memory_mib": true, "hypervisor": "xen", "colour": 1}, "x": 1}')
    with pytest.raises(UsageProblem) as caught:
        config.load(file)
    for field in ("machine.cpus", "machine.memory_mib", "machine.hypervisor", "machine.colour", "x: unknown"):
        assert field in str(caught.value)
