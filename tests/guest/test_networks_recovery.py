"""The network service on real namespaces: detaching, faults, restarts, and what is left afterwards."""

import asyncio
import contextlib
import subprocess
import sys
from pathlib import Path

import leaks
import networks_fixtures
import networks_rig as rig_module
import pytest
from networks_rig import (
    Rig,
    attach,
    call,
    container_id,
    in_namespace,
    nft,
    path_of,
    port,
    ports_of,
    published,
)

from wherryd.errors import Conflict, KernelFault, SystemFault
from wherryd.networks import links, namespaces
from wherryd.networks.bridge import Bridge
from wherryd.networks.netlink import Netlink
from wherryd.networks.service import NetworkService

pytestmark = pytest.mark.root

rig = networks_fixtures.rig
service = networks_fixtures.service

A, B, C = container_id(1), container_id(2), container_id(3)


async def test_detach_is_idempotent_and_takes_everything(rig: Rig, service: NetworkService) -> None:
    sandbox = await attach(service, A, port(80))
    await service.detach(A)
    await service.detach(A)
    await service.settle()
    assert service.sandbox(A) is None
    assert not Path(path_of(sandbox)).exists()
    assert ports_of(rig) == []
    assert published(rig) == []


@pytest.mark.parametrize("step", ["configure_container", "create_veth"])
async def test_a_failed_attach_leaves_nothing(
    rig: Rig, service: NetworkService, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_args: object, **_keywords: object) -> None:
        raise KernelFault(step, "eth0", 12)

    number = rig_module.free_port()
    with monkeypatch.context() as patch:
        patch.setattr(links, step, fail)
        with pytest.raises(KernelFault, match=step):
            await attach(service, A, port(80, number))
    assert service.sandbox(A) is None
    assert ports_of(rig) == []
    assert published(rig) == []
    sandbox = await attach(service, A, port(80, number))
    assert sandbox.ports[0].host_port == number


async def test_a_deleted_bridge_is_made_again(rig: Rig, service: NetworkService) -> None:
    with Netlink() as nl:
        assert links.delete(nl, rig.bridge)
    one, two = await attach(service, A), await attach(service, B)
    with rig_module.tcp_server(path_of(two), 80) as server:
        assert call(server, path_of(one), two.ip, 80) == one.ip


async def test_flushed_rules_come_back_with_the_next_change(rig: Rig, service: NetworkService) -> None:
    """As after `systemctl reload nftables`."""
    first, second = rig_module.free_port(), rig_module.free_port()
    one = await attach(service, A, port(80, first))
    for change in ("attach", "detach"):
        nft("delete", "table", "ip", f"wherry_{rig.bridge}")
        if change == "attach":
            await attach(service, B, port(80, second))
        else:
            await service.detach(B)
        with rig_module.tcp_server(path_of(one), 80) as server:
            assert call(server, None, "127.0.0.1", first)
    assert len(published(rig)) == 1


async def test_a_subnet_that_another_device_has_is_refused(rig: Rig, service: NetworkService) -> None:
    await attach(service, A)
    other = Bridge(f"wt1{rig_module.MARK}", rig.subnet)
    with pytest.raises(SystemFault, match=r"overlaps.*--bip"):
        other.open()
    assert not Path("/sys/class/net", other.name).exists()


async def test_a_device_of_that_name_that_is_no_bridge_is_left_alone(rig: Rig) -> None:
    with contextlib.closing(namespaces.create(rig.folder)) as namespace:
        try:
            inside = in_namespace(str(namespace.path), lambda: Bridge("lo", rig.subnet))
            with pytest.raises(SystemFault, match="no bridge"):
                in_namespace(str(namespace.path), inside.open)
        finally:
            namespaces.remove(namespace.path)


async def test_a_foreign_chain_that_drops_by_default_is_told(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    """In a namespace of its own: such a chain here would cut off everybody else's tests."""
    bridge = Bridge(rig.bridge, rig.subnet)

    def install() -> None:
        chain = "{ type filter hook forward priority 0; policy drop; }"
        nft(f"add table ip filter; add chain ip filter FORWARD {chain}")
        bridge.open()
        bridge.close()

    with contextlib.closing(namespaces.create(rig.folder)) as namespace:
        try:
            in_namespace(str(namespace.path), install)
        finally:
            namespaces.remove(namespace.path)
    assert [record.message for record in caplog.records if "drops by default" in record.message]


async def test_a_restarted_engine_keeps_what_runs(rig: Rig, service: NetworkService) -> None:
    number = rig_module.free_port()
    before = await attach(service, A, port(80, number))
    await attach(service, B, port(80))
    with rig_module.tcp_server(path_of(before), 80) as server:
        await service.close()
        assert call(server, None, "127.0.0.1", number)  # also while no engine runs
        again = rig.service()
        await again.open()
        await again.adopt({A})
        assert again.sandbox(A) == before
        assert again.sandbox(B) is None
        assert call(server, None, "127.0.0.1", number)
    await again.settle()
    assert len(ports_of(rig)) == 1
    assert [text for text in published(rig) if f". {number} :" in text]
    assert len(published(rig)) == 1
    with pytest.raises(Conflict, match="already allocated"):
        await attach(again, C, port(80, number))
    assert (await attach(again, C)).ip not in (before.ip, before.gateway)
    await again.detach(A)
    with rig_module.tcp_server(None, number):
        pass
    await again.close()


async def test_opening_twice_changes_nothing(rig: Rig, service: NetworkService) -> None:
    before = await attach(service, A)
    await service.open()
    again = rig.service()
    await again.open()
    assert again.sandbox(A) == before
    await again.close()


async def test_after_a_reboot_the_old_endpoints_are_gone(rig: Rig, service: NetworkService) -> None:
    await attach(service, A, port(80, rig_module.free_port()))
    await service.close()
    for path in rig.netns.iterdir():  # what a reboot does to them
        subprocess.run(["umount", str(path)], check=True, timeout=10)
    again = rig.service()
    await again.open()
    assert again.sandbox(A) is None
    assert list(rig.netns.iterdir()) == []
    assert published(rig) == []
    await again.close()


async def test_a_killed_engine_leaves_nothing_that_the_next_does_not_find(rig: Rig, tmp_path: Path) -> None:
    """SIGKILL with ready namespaces, an attached container and one that was detached half-way."""
    script = f"""
import asyncio, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
import networks_rig
from networks_rig import Rig, container_id, port, publish
from wherryd.networks import namespaces
from wherryd.networks.attaching import Attacher

async def main():
    rig = Rig(Path({str(tmp_path)!r}))
    rig.bridge, service = {rig.bridge!r}, None
    rig.subnet = __import__("ipaddress").IPv4Interface({str(rig.subnet)!r})
    service = rig.service()
    await service.open()
    await service.attach(container_id(1), mode="default", hostname="h", ports={{}})
    await service.attach(container_id(2), mode="default", hostname="h", ports=publish(port(80)))
    namespaces.create(rig.netns)
    Attacher._remove = lambda *_: None   # the kill comes before the kernel was cleaned
    await service.detach(container_id(2))
    print("ready", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    finally:
        child.kill()
        child.wait(timeout=10)
        child.stdout.close()  # type: ignore[union-attr]
    assert len(ports_of(rig)) == 2
    again = rig.service()
    await again.open()
    assert [again.sandbox(identity) is not None for identity in (A, B)] == [True, False]
    assert len(ports_of(rig)) == 1
    sandbox = again.sandbox(A)
    assert sandbox is not None
    with rig_module.tcp_server(path_of(sandbox), 80) as server:
        assert call(server, None, sandbox.ip, 80)
    await again.close()
    assert [str(path) for path in rig.netns.iterdir()] == [sandbox.netns_path]


async def test_a_cancelled_attach_leaves_nothing(rig: Rig, service: NetworkService) -> None:
    task = asyncio.ensure_future(attach(service, A, port(80)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await service.settle()
    assert service.sandbox(A) is None
    assert ports_of(rig) == []


async def test_two_services_live_side_by_side(rig: Rig, service: NetworkService, tmp_path: Path) -> None:
    other_folder = tmp_path / "other"
    other_folder.mkdir()
    other_rig = Rig(other_folder, number=1)
    other = other_rig.service()
    try:
        await other.open()
        number = rig_module.free_port()
        mine, theirs = await attach(service, A, port(80)), await attach(other, A, port(80, number))
        with pytest.raises(Conflict, match="address already in use"):
            await attach(service, B, port(80, number))
        with rig_module.tcp_server(path_of(theirs), 80) as server:
            assert call(server, path_of(mine), mine.gateway, number)
        await other.uninstall()
        assert service.sandbox(A) == mine
        assert len(published(rig)) == 1
    finally:
        await other_rig.remove()


async def test_rules_of_others_stay_as_they_are(rig: Rig) -> None:
    table = f"others_{rig_module.MARK}"
    script = f"add table ip {table}; add chain ip {table} c; add rule ip {table} c counter accept"
    subprocess.run(["nft", script], check=True, timeout=10)
    try:
        before = nft("list", "table", "ip", table)
        service = rig.service()
        await service.open()
        await attach(service, A, port(80))
        await service.uninstall()
        assert nft("list", "table", "ip", table) == before
    finally:
        subprocess.run(["nft", "delete", "table", "ip", table], check=True, timeout=10)


async def test_fifty_attaches_leave_nothing(rig: Rig, service: NetworkService) -> None:
    await attach(service, C)  # fills lazily made things, such as the pool
    before = leaks.take()
    for number in range(50):
        bindings = (port(80),) if number % 2 else ()
        await attach(service, A, *bindings)
        await service.detach(A)
    await service.settle()
    await service.detach(C)
    await service.close()
    assert leaks.take().since(before, rig_module.MARK) == []
