"""`machine init` and `rm` without a hypervisor: what is checked first, and what is left after a failure."""

import io
import json
import tarfile
from pathlib import Path

import pytest
from machine_standins import FakeProvider

from wherry import config
from wherry.config import Hypervisor
from wherry.errors import MachineProblem, MissingTool, NoSuchMachine, UsageProblem
from wherry.machine import box, create, hypervisor, store, vagrant
from wherry.machine.create import InitOptions
from wherry.machine.remove import remove
from wherry.machine.state import MachineState
from wherry.machine.vboxmanage import VBoxManage
from wherry.paths import Paths, paths
from wherrywire.version import __version__


def make_box(path: Path, provider: str = "virtualbox") -> Path:
    with tarfile.open(path, "w") as tar:
        data = json.dumps({"provider": provider}).encode()
        member = tarfile.TarInfo("./metadata.json")
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    return path


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.setenv("WHERRY_HOME", str(tmp_path / "h"))
    monkeypatch.delenv("WHERRY_CACHE", raising=False)
    monkeypatch.delenv("WHERRY_BOX", raising=False)
    return paths()


@pytest.fixture
def provider(places: Paths, monkeypatch: pytest.MonkeyPatch) -> FakeProvider:
    """Takes the hypervisor's place; the machine it has made is `default`."""
    found = FakeProvider(now=MachineState.ABSENT, data_disk=places.machine("default").data_disk)
    monkeypatch.setattr(store, "open_provider", lambda _places, _record: found)
    monkeypatch.setattr(hypervisor, "check", lambda _choice: None)
    monkeypatch.setattr(
        hypervisor,
        "open_hypervisor",
        lambda kind, _places: hypervisor.Choice(kind, VBoxManage(Path("/none"), {})),
    )
    return found


def init(places: Paths, tmp_path: Path, **options: object) -> store.Machine:
    file = make_box(tmp_path / "x.box")
    return create.create(
        places,
        config.load(places.config_file),
        InitOptions(name="default", **{"box": str(file), **options}),  # type: ignore[arg-type]
        lambda _step: None,
    )


def test_a_made_machine_can_be_loaded_again(places: Paths, provider: FakeProvider, tmp_path: Path) -> None:
    made = init(places, tmp_path, cpus=3)
    assert provider.calls == ["check", "create"]
    assert store.names(places) == ["default"]
    assert store.load(places, "default").record == made.record
    assert made.record.cpus == 3
    assert made.files.private_key.stat().st_mode & 0o077 == 0


def test_a_second_machine_of_the_same_name_is_refused(
    places: Paths, provider: FakeProvider, tmp_path: Path
) -> None:
    init(places, tmp_path)
    with pytest.raises(UsageProblem, match="exists already"):
        init(places, tmp_path)
    assert store.names(places) == ["default"]


@pytest.mark.parametrize("exception", [MachineProblem("no"), KeyboardInterrupt()])
def test_a_failed_init_leaves_nothing(
    places: Paths, provider: FakeProvider, tmp_path: Path, exception: BaseException
) -> None:
    provider.fail["create"] = exception  # type: ignore[assignment]
    with pytest.raises(type(exception)):
        init(places, tmp_path)
    assert not places.machine("default").folder.exists()
    assert store.names(places) == []


def test_a_failed_init_shows_the_end_of_vagrants_log(
    places: Paths, provider: FakeProvider, tmp_path: Path
) -> None:
    provider.fail["create"] = MachineProblem("no")
    real = provider._call

    def call(name: str) -> None:
        if name == "create":
            places.machine("default").vagrant_log.write_text("the disk is full\n")
        real(name)

    provider._call = call  # type: ignore[method-assign]
    with pytest.raises(MachineProblem) as caught:
        init(places, tmp_path)
    assert caught.value.log_tail == "the disk is full"


def test_a_kept_data_disk_survives_a_failed_init(
    places: Paths, provider: FakeProvider, tmp_path: Path
) -> None:
    files = places.machine("default")
    files.folder.mkdir(parents=True)
    files.data_disk.write_text("precious")
    provider.fail["create"] = MachineProblem("no")
    with pytest.raises(MachineProblem):
        init(places, tmp_path)
    assert [path.name for path in files.folder.iterdir()] == ["data.vdi"]
    assert files.data_disk.read_text() == "precious"


def test_a_missing_tool_is_found_before_anything_is_made(
    places: Paths, provider: FakeProvider, tmp_path: Path
) -> None:
    provider.fail["check"] = MissingTool("install it")
    with pytest.raises(MissingTool):
        init(places, tmp_path)
    assert not places.machine("default").folder.exists()


def test_rm_removes_folder_and_disk(places: Paths, provider: FakeProvider, tmp_path: Path) -> None:
    machine = init(places, tmp_path)
    remove(machine, force=False, keep_data=False)
    assert not machine.files.folder.exists()
    with pytest.raises(NoSuchMachine, match="machine init"):
        store.load(places, "default")


def test_rm_keep_data_keeps_the_disk_and_nothing_else(
    places: Paths, provider: FakeProvider, tmp_path: Path
) -> None:
    machine = init(places, tmp_path)
    remove(machine, force=False, keep_data=True)
    assert [path.name for path in machine.files.folder.iterdir()] == ["data.vdi"]
    assert store.names(places) == []
    init(places, tmp_path)  # and a new machine takes it


def test_rm_of_a_running_machine_is_refused_without_force(
    places: Paths, provider: FakeProvider, tmp_path: Path
) -> None:
    machine = init(places, tmp_path)
    provider.now = MachineState.RUNNING
    with pytest.raises(UsageProblem, match="--force"):
        remove(machine, force=False, keep_data=False)
    remove(machine, force=True, keep_data=False)
    assert not machine.files.folder.exists()


def test_rm_that_keeps_the_data_of_a_saved_machine_is_refused_without_force(
    places: Paths, provider: FakeProvider, tmp_path: Path
) -> None:
    machine = init(places, tmp_path)
    provider.now = MachineState.SAVED
    with pytest.raises(UsageProblem, match="memory would be lost"):
        remove(machine, force=False, keep_data=True)
    remove(machine, force=True, keep_data=True)
    assert [path.name for path in machine.files.folder.iterdir()] == ["data.vdi"]


def test_a_folder_too_deep_for_a_socket_is_refused(
    places: Paths, provider: FakeProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHERRY_HOME", str(tmp_path / ("d" * 120)))
    with pytest.raises(UsageProblem, match="too long for a socket"):
        init(paths(), tmp_path)


def test_the_cached_box_is_used_when_none_is_named(places: Paths, tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="make box"):
        box.find(None, None, places)
    file = make_box(tmp_path / "x.box")
    places.boxes.mkdir(parents=True)
    pointer = places.boxes / f"{__version__}-{box.architecture()}.json"
    pointer.write_text(json.dumps({"box": str(file), "sha256": "ab", "inputs": "cd"}))
    assert box.find(None, None, places) == box.Box(file, "ab")
    file.unlink()
    with pytest.raises(UsageProblem, match="is gone"):
        box.find(None, None, places)
    pointer.write_text("{}")
    with pytest.raises(UsageProblem, match="damaged"):
        box.find(None, None, places)


def test_the_option_wins_over_environment_and_config(
    places: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = {name: str(make_box(tmp_path / f"{name}.box")) for name in ("option", "env", "config")}
    assert box.find(None, named["config"], places).path.name == "config.box"
    monkeypatch.setenv("WHERRY_BOX", named["env"])
    assert box.find(None, named["config"], places).path.name == "env.box"
    assert box.find(named["option"], named["config"], places).path.name == "option.box"


def test_what_is_no_box_for_virtualbox_is_refused(places: Paths, tmp_path: Path) -> None:
    noise = tmp_path / "noise.box"
    noise.write_bytes(b"x" * 2000)
    for path, words in (
        (tmp_path / "missing.box", "there is no box"),
        (noise, "not a Vagrant box"),
        (make_box(tmp_path / "l.box", "libvirt"), "not a box for VirtualBox"),
    ):
        with pytest.raises(UsageProblem, match=words):
            box.checked(path)


def test_without_vagrant_one_sentence_says_what_to_install(
    places: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from test_machine_record import make

    runner = vagrant.VagrantRunner(make(), places.machine("default"), home=tmp_path, env={})
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingTool, match="apt install vagrant.*brew.*winget"):
        runner.check()


def test_without_qemu_one_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, places: Paths, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("vboxqemu.tools.EXTRA_FOLDERS", {})
    with pytest.raises(MissingTool, match="install QEMU"):
        hypervisor.check(hypervisor.Choice(Hypervisor.VBOXQEMU, VBoxManage(Path("/none"), {})))


def test_the_hypervisor_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHERRY_HYPERVISOR", "vboxqemu")
    assert hypervisor.choose(None) is Hypervisor.VBOXQEMU
    assert hypervisor.choose(Hypervisor.VIRTUALBOX) is Hypervisor.VIRTUALBOX
    monkeypatch.setenv("WHERRY_HYPERVISOR", "xen")
    with pytest.raises(UsageProblem, match="vboxqemu"):
        hypervisor.choose(None)


def test_vagrants_complaint_is_found_behind_its_progress(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("==> default: Importing...\n    default: 10%\nThe disk is full.\n\nFree some space.\n")
    assert vagrant._reason(log) == "The disk is full. Free some space."
