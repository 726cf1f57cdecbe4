"""Mount options, messages, requests, state: the runtime's pure parts."""

import os
from pathlib import Path

import pytest

from wherryd.errors import Conflict, InvalidParameter, KernelFault, NotFound, NotSupported, RuntimeFault
from wherryd.runtime import apparmor, mountoptions, selinux
from wherryd.runtime.messages import ChildMessage, Peer, Step, error_document, error_from, failure
from wherryd.runtime.mounting import split_lower
from wherryd.runtime.process import exit_code
from wherryd.runtime.request import CreateRequest
from wherryd.runtime.state import State, StateDir
from wherryd.runtime.types import ContainerIo, ExitStatus
from wherryd.runtime.verbs.ending import signal_number
from wherryd.spec import oci
from wherryd.spec.mount import Mount
from wherryd.sys import capabilities, mounts, paths


def test_options_become_attributes_propagation_and_data() -> None:
    options = mountoptions.parse(["rbind", "ro", "nosuid", "rslave", "rro", "size=4m", "uid=1"])
    assert options.bind
    assert options.recursive_bind
    assert options.attributes.set_ == mounts.MOUNT_ATTR_RDONLY | mounts.MOUNT_ATTR_NOSUID
    assert options.recursive_attributes.set_ == mounts.MOUNT_ATTR_RDONLY
    assert options.propagation == ((mounts.MS_SLAVE, True),)
    assert options.data == (("size", "4m"), ("uid", "1"))


def test_the_last_of_two_contrary_options_wins() -> None:
    options = mountoptions.parse(["ro", "rw"])
    assert (options.attributes.set_, options.attributes.clear) == (0, mounts.MOUNT_ATTR_RDONLY)
    options = mountoptions.parse(["noatime", "strictatime"])
    assert options.attributes.set_ == mounts.MOUNT_ATTR_STRICTATIME


@pytest.mark.parametrize("word", ["remount"])
def test_options_that_cannot_be_carried_out_are_refused(word: str) -> None:
    with pytest.raises(NotSupported, match=word):
        mountoptions.parse([word])


def test_lower_layers_are_split_at_colons_that_are_not_escaped() -> None:
    assert split_lower(r"/a:/b\:c:/d\\e") == ["/a", "/b:c", r"/d\e"]


@pytest.mark.parametrize(
    "error", [Conflict("c"), NotFound("n"), InvalidParameter("i"), NotSupported("s"), RuntimeFault("r", 127)]
)
def test_errors_keep_class_words_and_code_across_the_socket(error: Exception) -> None:
    back = error_from(error_document(error))
    assert type(back) is type(error)
    assert str(back) == str(error)
    if isinstance(error, RuntimeFault):
        assert isinstance(back, RuntimeFault)
        assert back.exit_code == 127


def test_other_errors_become_runtime_faults_with_their_notes() -> None:
    error = KernelFault("mount", "/x", 1)
    error.add_note("and the cgroup stayed")
    back = error_from(error_document(error))
    assert isinstance(back, RuntimeFault)
    assert str(back) == "mount /x: Operation not permitted\nand the cgroup stayed"
    assert "ValueError: x" in str(error_from(error_document(ValueError("x"))))


def test_parent_and_child_talk_in_packets() -> None:
    parent, child = Peer.pair()
    child.send(ChildMessage(step=Step.READY))
    read, write = os.pipe()
    child.send(failure(RuntimeFault("no", 126)), (write,))
    os.close(write)
    child.close()
    first, second = parent.receive(), parent.receive()
    assert first == (ChildMessage(step=Step.READY), [])
    assert second is not None
    with pytest.raises(RuntimeFault, match="no"):
        second[0].raise_if_failed()
    os.write(second[1][0], b"x")
    assert os.read(read, 1) == b"x"
    assert parent.receive() is None
    parent.close()
    for fd in (read, second[1][0]):
        os.close(fd)


def test_a_request_survives_its_encoding(tmp_path: Path) -> None:
    request = CreateRequest(
        container_id="c",
        exec_root=tmp_path,
        bundle=tmp_path / "b",
        layers=(Mount("overlay", "overlay", "", ("lowerdir=/a",)),),
        io=ContainerIo(
            terminal=True, open_stdin=True, stdin_once=False, log_path=tmp_path / "log", console_size=(1, 2)
        ),
    )
    assert CreateRequest.decode(request.encode()) == request


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x" * 129, "a\n"])
def test_ids_that_are_no_file_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidParameter):
        StateDir(tmp_path, name)


def test_state_and_exit_are_read_back(tmp_path: Path) -> None:
    directory = StateDir(tmp_path, "c")
    with pytest.raises(NotFound):
        directory.read_state()
    directory.create()
    state = State(
        container_id="c", pid=1, pid_started=2, monitor_pid=3, bundle="/b", rootfs="/r", cgroup="/g",
        namespaces=("pid",), created_at="t", gate="monitor", annotations={"a": "b"},
    )  # fmt: skip
    directory.write_state(state)
    directory.write_exit(ExitStatus(1, "t", False, ""))
    assert directory.read_state() == state
    assert directory.read_exit() == ExitStatus(1, "t", False, "")
    assert directory.connect() is None
    directory.remove()
    directory.remove()
    assert directory.read_exit() is None


def test_a_door_below_a_long_path_works(tmp_path: Path) -> None:
    directory = StateDir(tmp_path / ("x" * 120), "c" * 64)
    directory.create()
    with directory.listen():
        connection = directory.connect()
        assert connection is not None
        connection.close()
    assert directory.connect() is None


def test_wait_statuses_become_dockers_exit_codes() -> None:
    assert exit_code(9) == 137
    assert exit_code(3 << 8) == 3


@pytest.mark.parametrize("text", ["9", "KILL", "SIGKILL", "sigkill"])
def test_signals_by_number_and_name(text: str) -> None:
    assert signal_number(text) == 9


def test_capability_names_and_bits() -> None:
    assert capabilities.mask(["CAP_CHOWN", "CAP_KILL"]) == 0b100001
    assert capabilities.names(0b100001) == ("CAP_CHOWN", "CAP_KILL")
    with pytest.raises(InvalidParameter, match="CAP_NOPE"):
        capabilities.mask(["CAP_NOPE"])


def test_paths_stay_inside_the_root(tmp_path: Path) -> None:
    root_path, outside = tmp_path / "root", tmp_path / "outside"
    root_path.mkdir()
    outside.mkdir()
    (root_path / "up").symlink_to("../outside")
    (root_path / "abs").symlink_to("/etc")
    (root_path / "dangling").symlink_to("/made/later")
    root = paths.open_root(str(root_path))
    for name, made in (("/up/x", "outside/x"), ("/abs/y", "etc/y"), ("/dangling/z", "made/later/z")):
        os.close(paths.mkdir_in_root(root, name))
        assert (root_path / made).is_dir()
    os.close(paths.create_in_root(root, "/abs/file"))
    assert (root_path / "etc/file").is_file()
    assert not list(outside.iterdir())
    with pytest.raises(KernelFault):
        paths.open_in_root(root, "/proc/self/fd/0", paths.O_PATH)
    os.close(root)


def test_a_fifo_in_place_of_a_file_is_not_read(tmp_path: Path) -> None:
    """CVE-2024-9676."""
    os.mkfifo(tmp_path / "passwd")
    (tmp_path / "group").write_text("g:x:1:\n")
    root = paths.open_root(str(tmp_path))
    assert paths.read_small_file(root, "/passwd", limit_bytes=100) is None
    assert paths.read_small_file(root, "/group", limit_bytes=3) == b"g:x"
    assert paths.read_small_file(root, "/none", limit_bytes=3) is None
    os.close(root)


def test_a_loop_of_links_ends_with_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    root = paths.open_root(str(tmp_path))
    with pytest.raises(KernelFault):
        paths.mkdir_in_root(root, "/a/x")
    os.close(root)


def test_selinux_labels_are_refused_where_selinux_is(tmp_path: Path) -> None:
    linux = oci.Linux(namespaces={}, mount_label="x")
    root = oci.Root(path="rootfs", readonly=False)
    spec = oci.Spec(
        version="1.2.0",
        root=root,
        process=None,
        hostname="",
        domainname="",
        mounts=(),
        linux=linux,
        annotations={},
    )
    assert selinux.without_effect(spec, str(tmp_path / "enforce")) == ("linux.mountLabel",)
    (tmp_path / "enforce").write_text("1")
    with pytest.raises(NotSupported, match="SELinux is enabled"):
        selinux.without_effect(spec, str(tmp_path / "enforce"))


def test_a_profile_is_written_for_the_next_exec(tmp_path: Path) -> None:
    """The kernel's two places for it, the newer first."""
    for place in ("self/attr", "self/attr/apparmor"):
        (tmp_path / place).mkdir(parents=True)
        file = tmp_path / place / "exec"
        file.touch()
        proc = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
        apparmor.change_on_exec(proc, "docker-default")
        os.close(proc)
        assert file.read_text() == "exec docker-default"
    (tmp_path / "enabled").write_text("Y\n")
    assert apparmor.is_enabled(str(tmp_path / "enabled"))
    assert not apparmor.is_enabled(str(tmp_path / "missing"))


def test_a_kernel_without_a_place_for_the_profile_is_an_error(tmp_path: Path) -> None:
    proc = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    with pytest.raises(RuntimeFault, match="docker-default"):
        apparmor.change_on_exec(proc, "docker-default")
    os.close(proc)
