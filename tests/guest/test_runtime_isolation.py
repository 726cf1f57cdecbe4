"""What a container must not see, reach or keep."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import runtime_fixtures
from runtime_rig import Rig, config

from wherryd.errors import RuntimeFault

pytestmark = [pytest.mark.root, pytest.mark.asyncio(loop_scope="module")]

rig = runtime_fixtures.rig


async def test_capabilities_are_dockers_and_inheritable_and_ambient_are_empty(rig: Rig) -> None:
    """CVE-2022-24769, CVE-2016-8867."""
    lines = (await rig.sh("grep -E 'Cap|NoNewPrivs' /proc/self/status")).stdout.split()
    status = dict(zip(lines[::2], lines[1::2], strict=True))
    assert status["CapBnd:"] == status["CapEff:"] == status["CapPrm:"] == "00000000a80425fb"
    assert int(status["CapInh:"], 16) == int(status["CapAmb:"], 16) == 0
    # Weakened: a config that asks for them, so the zeros are not what the kernel makes of anything.
    sets = ("bounding", "effective", "permitted", "inheritable", "ambient")
    asked = dict.fromkeys(sets, ("CAP_CHOWN",))
    output = await rig.sh("grep -E 'Cap(Inh|Amb)' /proc/self/status", capabilities=asked)
    assert [int(word, 16) for word in output.stdout.split()[1::2]] == [1, 1]
    assert status["NoNewPrivs:"] == "0"


async def test_no_new_privileges_is_set_when_asked(rig: Rig) -> None:
    output = await rig.sh("grep NoNewPrivs /proc/self/status", noNewPrivileges=True)
    assert output.stdout.split()[1] == "1"


async def test_a_capability_the_engine_has_not_is_told(rig: Rig) -> None:
    if "CAP_SYS_RESOURCE" in _own_capabilities():
        pytest.skip("this engine has every capability")
    caps = {name: ["CAP_SYS_RESOURCE"] for name in ("bounding", "effective", "permitted")}
    with pytest.raises(RuntimeFault, match="CAP_SYS_RESOURCE: the engine does not have it"):
        await rig.create(config("true", capabilities=caps))


def _own_capabilities() -> tuple[str, ...]:
    from wherryd.sys import capabilities

    return capabilities.names(capabilities.bounding_set())


async def test_masked_and_readonly_paths(rig: Rig) -> None:
    output = await rig.sh(
        "wc -c < /proc/keys; ls /proc/acpi /sys/firmware 2>/dev/null | grep -v :; "
        "echo 1 > /proc/sys/kernel/shmmni || echo sys; echo b > /proc/sysrq-trigger || echo sysrq; "
        "touch /sys/x || echo sysfs; mkdir /sys/fs/cgroup/pids/x || mkdir /sys/fs/cgroup/x || echo cgroup"
    )
    assert output.stdout.split() == ["0", "sys", "sysrq", "sysfs", "cgroup"]


async def test_only_the_usual_devices_are_there(rig: Rig) -> None:
    output = await rig.sh("ls /dev; head -c 4 /dev/zero | wc -c; echo x > /dev/null && echo written")
    lines = output.stdout.split()
    assert lines[-2:] == ["4", "written"]
    usual = "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero"
    assert " ".join(sorted(lines[:-2])) == usual


async def test_a_made_device_node_cannot_be_opened(rig: Rig) -> None:
    """CAP_MKNOD is a default, the device cgroup is what denies."""
    output = await rig.sh(
        "mknod /dev/kmsg2 c 1 11 && echo made; cat /dev/kmsg2 >/dev/null || echo denied; "
        "mknod /tmp/mem b 254 0; head -c 1 /tmp/mem || echo denied"
    )
    assert output.stdout.split() == ["made", "denied", "denied"]
    assert "Operation not permitted" in output.stderr


async def test_mounting_is_not_allowed(rig: Rig) -> None:
    output = await rig.sh("mount -t tmpfs x /tmp || echo no; unshare -m true || echo no")
    assert output.stdout.split() == ["no", "no"]


async def test_no_descriptor_of_ours_is_left(rig: Rig) -> None:
    """CVE-2024-21626. ls has its own for the folder it lists."""
    assert (await rig.sh("ls /proc/self/fd")).stdout.split() == ["0", "1", "2", "3"]


@pytest.mark.parametrize("number", range(3, 12))
async def test_a_working_directory_through_a_descriptor_is_refused(rig: Rig, number: int) -> None:
    """CVE-2024-21626: a leaked descriptor of a host folder."""
    with pytest.raises(RuntimeFault, match="chdir|mkdir|openat2"):
        await rig.create(config("true", cwd=f"/proc/self/fd/{number}"))


async def test_signals_are_back_to_their_defaults(rig: Rig) -> None:
    output = await rig.run(config("grep", "-E", "Sig(Ign|Blk)", "/proc/self/status"))
    assert [int(word, 16) for word in output.stdout.split()[1::2]] == [0, 0]


def _bind(source: Path, destination: str, *options: str) -> dict[str, Any]:
    return {"destination": destination, "type": "bind", "source": str(source), "options": ["rbind", *options]}


async def test_bind_mounts_of_files_and_folders_with_readonly(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "f").write_text("from outside\n")
    document = config(
        "sh",
        "-c",
        "cat /etc/f; touch /data/new; touch /ro/x || echo readonly; grep -c /data /proc/self/mounts",
    )
    document["mounts"] += [
        _bind(tmp_path / "f", "/etc/f"),
        _bind(tmp_path / "d", "/data", "rprivate"),
        _bind(tmp_path / "d", "/ro", "ro"),
    ]
    output = await rig.run(document)
    assert output.stdout.splitlines() == ["from outside", "readonly", "1"]
    assert (tmp_path / "d/new").exists()


@pytest.mark.parametrize("link", ["/escape", "../../../../../../../escape"])
async def test_a_mount_target_that_is_a_link_stays_inside(rig: Rig, tmp_path: Path, link: str) -> None:
    """CVE-2021-30465, CVE-2019-16884 and their kind."""
    outside = Path("/escape")
    assert not outside.exists()
    document = config("sh", "-c", "touch /linked/here && ls /escape")
    document["mounts"].append(_bind(tmp_path, "/linked"))
    with _linked(rig, link):
        assert (await rig.run(document)).stdout.split() == ["here"]
    assert not outside.exists()
    assert (tmp_path / "here").exists()


async def test_a_mount_target_through_a_magic_link_is_refused(rig: Rig, tmp_path: Path) -> None:
    document = config("true")
    document["mounts"].append(_bind(tmp_path, "/linked"))
    with _linked(rig, "/proc/self/root/escape"), pytest.raises(RuntimeFault, match="error mounting"):
        await rig.create(document)
    assert not Path("/escape").exists()


@contextlib.contextmanager
def _linked(rig: Rig, target: str) -> Iterator[None]:
    """The image has /linked -> target meanwhile."""
    link = rig.base / "image" / "linked"
    link.symlink_to(target)
    try:
        yield
    finally:
        link.unlink()


async def test_nothing_is_mounted_over_files_of_proc(rig: Rig, tmp_path: Path) -> None:
    """CVE-2019-19921, CVE-2025-52881: a fake /proc would make security settings go nowhere."""
    document = config("true")
    document["mounts"].append(_bind(tmp_path, "/proc/sys"))
    with pytest.raises(RuntimeFault, match="inside /proc"):
        await rig.create(document)


async def test_a_readonly_root_has_its_mount_points_made_before(rig: Rig, tmp_path: Path) -> None:
    document = config("sh", "-c", "touch /x || echo readonly; touch /made/y && echo volume; pwd", cwd="/work")
    document["root"]["readonly"] = True
    document["mounts"].append(_bind(tmp_path, "/made"))
    assert (await rig.run(document)).stdout.split() == ["readonly", "volume", "/work"]


async def test_tmpfs_and_its_options(rig: Rig) -> None:
    document = config("sh", "-c", "grep ' /scratch ' /proc/self/mounts; ls -ld /scratch")
    document["mounts"].append(
        {
            "destination": "/scratch",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["size=4m", "noexec", "mode=700"],
        }
    )
    output = (await rig.run(document)).stdout
    assert "size=4096k" in output
    assert "noexec" in output
    assert "drwx------" in output


async def test_sysctls_of_the_containers_namespaces_are_set(rig: Rig) -> None:
    document = config("cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start")
    document["linux"]["sysctl"] = {"net.ipv4.ip_unprivileged_port_start": "77"}
    assert (await rig.run(document)).stdout == "77\n"
    assert Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text() != "77\n"


async def test_lowering_rlimits_works_and_raising_is_told(rig: Rig) -> None:
    lower = [{"type": "RLIMIT_NOFILE", "soft": 64, "hard": 128}]
    assert (await rig.sh("ulimit -Sn; ulimit -Hn", rlimits=lower)).stdout.split() == ["64", "128"]
    if "CAP_SYS_RESOURCE" in _own_capabilities():
        return
    higher = [{"type": "RLIMIT_NOFILE", "soft": 64, "hard": 1 << 30}]
    with pytest.raises(RuntimeFault, match="RLIMIT_NOFILE .* may only lower it"):
        await rig.create(config("true", rlimits=higher))


async def test_oom_score_is_set(rig: Rig) -> None:
    assert (await rig.sh("cat /proc/self/oom_score_adj", oomScoreAdj=500)).stdout == "500\n"


async def test_the_runtimes_state_is_for_root_only(rig: Rig) -> None:
    monitor = await rig.running()
    directory = rig.exec_root / "containers" / monitor.container_id
    assert (directory.stat().st_mode & 0o777) == 0o700
    assert (directory.parent.stat().st_mode & 0o777) == 0o700
    assert str(Path(f"/proc/{monitor.pid}/root").readlink()) == "/"
