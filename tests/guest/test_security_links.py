"""Links and races: names that mean another place the second time they are looked up.

Each test is a row of docs/security.md. Where it can be had cheaply, the same attack is made on a runtime
without the measure (`by_command`), and must work there.
"""

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Any

import pytest
import runtime_fixtures
from runtime_rig import Rig, config, read_until
from security_rig import IDS, attacker, bind, by_command, image_has, with_ids, without

from wherryd.errors import KernelFault, RuntimeFault
from wherryd.sys import paths

pytestmark = [pytest.mark.root, pytest.mark.asyncio(loop_scope="module")]

rig = runtime_fixtures.rig

CANARY = "wherry-canary-of-the-host"


async def weakly(rig: Rig, document: dict[str, Any], weaken: str = "") -> Any:
    return await asyncio.to_thread(by_command, rig, document, weaken)


# --- /proc ---

#: In the image /proc leads through a folder that a volume covers later, where it then leads elsewhere.
_REAL_AND_FAKE = ("realproc", "fakeproc/sys/kernel")
_TRY_REAL_PROC = """
echo 77 > /realproc/sys/net/ipv4/ip_default_ttl && echo written
[ "$(wc -c < /realproc/keys)" = 0 ] || echo unmasked
cat /realproc/sys/net/ipv4/ip_default_ttl
"""


def _proc_through_a_volume(rig: Rig, volume: Path) -> dict[str, Any]:
    for name in _REAL_AND_FAKE:
        (rig.base / "image" / name).mkdir(parents=True, exist_ok=True)
    for name in ("keys", "sysrq-trigger", "timer_list"):
        (rig.base / "image/fakeproc" / name).touch()
    (volume / "p").symlink_to("/fakeproc")
    document = config("sh", "-c", _TRY_REAL_PROC)
    document["mounts"].append(bind(volume, "/volume"))
    return document


@pytest.mark.parametrize("ids", IDS)
async def test_a_proc_that_is_a_link_is_refused(rig: Rig, tmp_path: Path, ids: str) -> None:
    """Row 5, CVE-2019-19921, CVE-2023-27561: masks would be put where the link leads by then."""
    with image_has(rig, "volume/p", "/realproc"), image_has(rig, "proc", "/volume/p"):
        document = with_ids(_proc_through_a_volume(rig, tmp_path), ids)
        with pytest.raises(RuntimeFault, match="ordinary directory, and /proc is a"):
            await rig.create(document)


async def test_without_that_the_masks_go_astray(rig: Rig, tmp_path: Path) -> None:
    """Weakened: the target of procfs is found as any other. The attack then writes to a read-only sysctl."""
    weaken = (
        "from wherryd.runtime import rootfs\n"
        "rootfs._directory = lambda root, each: rootfs.paths.mkdir_in_root(root, each.destination)\n"
    )
    with image_has(rig, "volume/p", "/realproc"), image_has(rig, "proc", "/volume/p"):
        done = await weakly(rig, _proc_through_a_volume(rig, tmp_path), weaken)
    assert done.stdout.split() == ["written", "unmasked", "77"], done


@pytest.mark.parametrize("ids", IDS)
@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
async def test_the_foundations_are_ordinary_directories(rig: Rig, name: str, ids: str) -> None:
    """Rows 5 and 6, CVE-2026-41579; also a link to itself, out of the root, or to a file."""
    for target in ("/elsewhere", f"/{name}", "../../../..", "/etc/passwd"):
        with image_has(rig, name, target), pytest.raises(RuntimeFault, match=f"/{name}"):
            await rig.create(with_ids(config("true"), ids))


# --- the working directory ---

#: The engine has leaked a descriptor of a folder of the host, and does not close it.
_LEAK = """
import os
os.dup2(os.open({folder!r}, os.O_RDONLY | os.O_DIRECTORY), 77, inheritable=True)
from wherryd.runtime import child, identity
child.close_others = lambda keep: None
"""
_FOLLOW = """
identity.make_cwd = lambda root, cwd: None
identity.enter_cwd = lambda root, cwd, identity: os.chdir(cwd)
identity.check_cwd = lambda: None
"""


async def test_a_leaked_descriptor_is_no_working_directory(rig: Rig, tmp_path: Path) -> None:
    """Row 2, CVE-2024-21626: even where a descriptor of the host is leaked, `cwd` does not lead to it."""
    (tmp_path / "secret").write_text(CANARY)

    def document() -> dict[str, Any]:
        return config("sh", "-c", "cat secret; cat /proc/self/cwd/secret", cwd="/proc/self/fd/77")

    leak = _LEAK.format(folder=str(tmp_path))
    done = await weakly(rig, document(), leak)
    assert done.status.exit_code != 0
    assert CANARY not in done.stdout
    done = await weakly(rig, document(), leak + _FOLLOW)
    assert done.stdout == CANARY * 2, done


async def test_a_working_directory_that_cannot_be_named_is_noticed(rig: Rig, tmp_path: Path) -> None:
    """Row 2, the second fence: a process that somehow stands outside of its root does not go on."""
    follow = _FOLLOW.replace("identity.check_cwd = lambda: None\n", "")
    done = await weakly(
        rig, config("pwd", cwd="/proc/self/fd/77"), _LEAK.format(folder=str(tmp_path)) + follow
    )
    assert done.status.exit_code != 0
    assert "working directory is not inside the root" in done.stderr


# --- masks and devices ---


async def test_a_mask_is_our_own_null_device(rig: Rig) -> None:
    """Row 3, CVE-2025-31133: the image's /dev/null leads to a sysctl. Weakened: the mask's source is found in
    the container, so that writing to a masked file sets the sysctl."""
    sysctl = "/proc/sys/net/ipv4/ip_default_ttl"

    def document() -> dict[str, Any]:
        found = config("sh", "-c", f"echo 77 > /proc/timer_list; cat {sysctl}")
        found["linux"]["maskedPaths"] = ["/proc/timer_list"]
        return without(found, "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue")

    unchecked = "from wherryd.runtime import devices, mounting\ndevices._check_node = lambda *_: None\n"
    naive = (
        "from wherryd.sys import mounts, paths\n"
        "mounting.null_device = lambda: mounts.clone_mount('', recursive=False, "
        "dirfd=paths.open_in_root(paths.open_root(ROOT), '/dev/null', paths.O_PATH))\n"
    )
    with image_has(rig, "dev/null", sysctl):
        done = await weakly(rig, document())
        assert "/dev/null exists in the root and is another file" in done.stderr
        done = await weakly(rig, document(), unchecked)
        assert done.stdout.split()[-1] == "64", done
        done = await weakly(rig, document(), unchecked + naive)
        assert done.stdout.split()[-1] == "77", done


# --- mounts while somebody swaps ---

#: Exchanges the folder and the link all the time: renameat2(RENAME_EXCHANGE).
_SWAP = """
print('up', flush=True)
while True:
    call(316, -100, b'/shared/target', -100, b'/shared/link', 2)
"""
_BY_PATH = """
import os
from wherryd.sys import paths
def mkdir(root, path, mode=0o755):
    os.makedirs(ROOT + path, exist_ok=True)
    return os.open(ROOT + path, os.O_PATH)
paths.mkdir_in_root = mkdir
"""


@pytest.mark.parametrize("ids", IDS)
async def test_a_mount_target_that_is_swapped_all_the_time_stays_inside(
    rig: Rig, tmp_path: Path, ids: str
) -> None:
    """Row 6, CVE-2021-30465: two containers share a folder; one swaps a directory for a link to the host
    while the other one's mounts are made below it. Weakened: by path, and the host gets folders soon."""
    shared, secret, outside = tmp_path / "shared", tmp_path / "secret", tmp_path / "outside"
    for each in (shared / "target", secret, outside):
        each.mkdir(parents=True)
        each.chmod(0o777)
    tmp_path.chmod(0o777)
    (shared / "link").symlink_to(outside)
    swapper = attacker(rig, _SWAP)
    swapper["mounts"].append(bind(shared, "/shared"))
    monitor = await rig.create(swapper)
    stream = await monitor.attach(stdin=False, stdout=True, stderr=True)
    await monitor.start()
    await read_until(stream, b"up")
    stream.close()

    def victim(number: int) -> dict[str, Any]:
        document = config("true")
        document["mounts"] += [bind(shared, "/shared"), bind(secret, f"/shared/target/{number}/deep")]
        return document

    done = 0
    for number in range(25):
        try:
            await rig.run(with_ids(victim(number), ids))
            done += 1
        except RuntimeFault:
            pass  # the folder was a link to nowhere inside at that moment
        assert list(outside.iterdir()) == []
        assert str(tmp_path) not in Path("/proc/self/mounts").read_text()
    assert done > 0
    if ids == "host-ids":
        for number in range(100, 160):
            await weakly(rig, victim(number), _BY_PATH)
            if list(outside.iterdir()):
                break
        assert list(outside.iterdir()), "the attack does not work even on a runtime that goes by path"
    await monitor.kill(9)
    await monitor.wait()


@pytest.mark.parametrize("ids", IDS)
async def test_a_file_that_is_swapped_for_a_link_while_it_is_mounted_on(
    rig: Rig, tmp_path: Path, ids: str
) -> None:
    """Rows 6 and 10: /etc/hosts, /etc/resolv.conf and their like are mounted on files of the image; here they
    are in a folder that another container changes, between a file, a link out and a link into /proc."""
    shared, outside, hosts = tmp_path / "shared", tmp_path / "outside", tmp_path / "hosts"
    shared.mkdir()
    shared.chmod(0o777)
    tmp_path.chmod(0o777)
    outside.write_text(CANARY)
    hosts.write_text("of the engine\n")
    (shared / "target").write_text("")
    (shared / "link").symlink_to(outside)
    swapper = attacker(rig, _SWAP)
    swapper["mounts"].append(bind(shared, "/shared"))
    monitor = await rig.create(swapper)
    stream = await monitor.attach(stdin=False, stdout=True, stderr=True)
    await monitor.start()
    await read_until(stream, b"up")
    stream.close()
    for _ in range(25):
        victim = with_ids(config("sh", "-c", f"cat {outside} || true"), ids)
        victim["mounts"] += [bind(shared, "/shared"), bind(hosts, "/shared/target")]
        with contextlib.suppress(RuntimeFault):  # the moment at which there was neither
            # In the container the link's target is a file of its own; seeing the engine's there is fine.
            assert (await rig.run(victim)).stdout in ("", "of the engine\n")
        assert outside.read_text() == CANARY
        assert str(tmp_path) not in Path("/proc/self/mounts").read_text()
    await monitor.kill(9)
    await monitor.wait()


async def test_a_link_to_nowhere_is_mounted_on_inside(rig: Rig, tmp_path: Path) -> None:
    """Images of machines have /etc/resolv.conf as a link into /run, which is empty in a container."""
    conf = tmp_path / "resolv.conf"
    conf.write_text("nameserver 192.0.2.1\n")
    for target in ("/run/systemd/resolve/stub.conf", "../run/stub.conf", "../../../../wherry-escape.conf"):
        document = config("cat", "/etc/resolv.conf")
        document["mounts"].append(bind(conf, "/etc/resolv.conf"))
        with image_has(rig, "etc/resolv.conf", target):
            assert (await rig.run(document)).stdout == "nameserver 192.0.2.1\n"
    assert not Path("/wherry-escape.conf").exists()
    document = config("true")
    document["mounts"].append(bind(conf, "/etc/resolv.conf"))
    with image_has(rig, "etc/resolv.conf", "resolv.conf"), pytest.raises(RuntimeFault, match="symbolic"):
        await rig.create(document)


async def test_a_device_goes_where_its_path_leads_inside(rig: Rig, tmp_path: Path) -> None:
    """--device with a path through a link of the image: the node is made in the root, not on the host."""
    folder = f"/wherry-escape-{os.getpid()}"
    with image_has(rig, "nodes", folder):
        document = config("ls", "-l", f"{folder}/zero")
        document["linux"]["devices"] = [{"path": "/nodes/zero", "type": "c", "major": 1, "minor": 5}]
        assert "1,   5" in (await rig.run(document)).stdout
    assert not Path(folder).exists()


async def test_a_plain_lookup_follows_where_ours_does_not(rig: Rig, tmp_path: Path) -> None:
    """What every test here rests on: the same name through open(2) leads to the host."""
    (tmp_path / "secret").write_text(CANARY)
    with image_has(rig, "out", str(tmp_path)):
        root = paths.open_root(str(rig.base / "image"))
        try:
            with pytest.raises(KernelFault, match="openat2"):
                paths.open_in_root(root, "/out/secret", os.O_RDONLY)
            os.close(os.open("out/secret", os.O_RDONLY, dir_fd=root))
        finally:
            os.close(root)
