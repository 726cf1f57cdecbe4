"""The whole agent in this process: a real sshd and a small engine stand in for the guest."""

import asyncio
import contextlib
import json
import os
import time
from typing import Any

import agent_world
import pytest
from agent_world import World, get, until
from machine_standins import (
    needs_sshd,
)

from wherry.agent import launch
from wherry.agent.serve import Agent
from wherry.errors import MachineProblem
from wherry.machine import sshport
from wherry.machine.state import MachineState
from wherrywire.serialline import Booted

pytestmark = needs_sshd

sshd = agent_world.sshd
world = agent_world.world


async def test_a_boot_goes_through_its_events_in_order(world: World) -> None:
    world.start()
    await world.reaches("starting")
    world.say(Booted())
    await world.reaches("booted")
    world.ready()
    await world.reaches("running")
    assert world.events() == ["starting", "booted", "ready", "connected", "running"]
    assert world.files.known_host.read_text().strip() == world.sshd.host_key
    assert world.files.known_hosts.read_text().startswith(f"[127.0.0.1]:{world.sshd.port} ssh-ed25519 ")


async def test_the_engine_answers_on_the_local_socket_once_running_is_said(world: World) -> None:
    world.start()
    await world.reaches("starting")
    assert not world.files.socket.exists(), "a socket would look like a running machine"
    world.ready()
    await world.reaches("running")
    answer = await asyncio.to_thread(get, str(world.files.socket), "/_ping")
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"OK")
    assert world.files.socket.stat().st_mode & 0o777 == 0o600


async def test_nothing_is_dialled_before_the_host_key_is_known(world: World) -> None:
    world.start()
    await world.reaches("starting")
    await asyncio.sleep(0.3)
    assert world.events() == ["starting"]


async def test_a_resumed_guest_is_trusted_by_the_stored_host_key(world: World) -> None:
    world.files.known_host.write_text(world.sshd.host_key + "\n")
    world.start(resumed=True)
    await world.reaches("running")
    assert "ready" not in world.events()


async def test_a_fresh_boot_does_not_trust_the_stored_host_key(world: World) -> None:
    world.files.known_host.write_text("SHA256:old\n")
    world.start()
    await world.reaches("starting")
    world.ready()
    await world.reaches("running")


async def test_a_kernel_panic_ends_the_wait_at_once(world: World) -> None:
    world.start()
    await world.reaches("starting")
    world.files.serial_log.write_text("[1.0] Kernel panic - not syncing: no init found\n")
    stopped = await world.reaches("stopped")
    assert "Kernel panic - not syncing: no init found" in stopped["reason"]
    await world.stop()


async def test_a_lost_connection_is_degraded_and_then_running_again(world: World) -> None:
    await world.running()
    await until(lambda: world.engine.listeners)
    for pid in world.sshd.connections():
        os.kill(pid, 9)
    await world.reaches("degraded")
    await world.reaches("running", times=2)
    answer = await asyncio.to_thread(get, str(world.files.socket), "/_ping")
    assert answer.endswith(b"OK")


async def test_while_the_guest_is_lost_calls_fail_at_once_with_a_sentence(world: World) -> None:
    await world.running()
    unused = sshport.pick()
    await until(lambda: world.engine.listeners)
    # The next dial goes nowhere, so the machine stays degraded.
    import wherry.agent.serve as serve

    real = serve.dial
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serve, "dial", lambda target: real(_with_port(target, unused)))
        for pid in world.sshd.connections():
            os.kill(pid, 9)
        await world.reaches("degraded")
        began = time.monotonic()
        answer = await asyncio.to_thread(get, str(world.files.socket), "/_ping")
        assert time.monotonic() - began < 2.0
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503")
    assert 'machine "default" does not answer' in json.loads(body)["message"]
    await world.reaches("running", times=2)


def _with_port(target: Any, port: int) -> Any:
    from dataclasses import replace

    return replace(target, port=port)


async def test_an_engine_that_restarts_is_degraded_and_then_running_again(world: World) -> None:
    await world.running()
    await until(lambda: world.engine.listeners)
    world.engine.close()
    await world.reaches("degraded")
    await world.reaches("running", times=2)


async def test_the_agent_ends_with_its_vm_and_cleans_up(world: World) -> None:
    await world.running()
    world.provider.now = MachineState.STOPPED
    for pid in world.sshd.connections():
        os.kill(pid, 9)
    assert world.task is not None
    await asyncio.wait_for(world.task, 20)
    assert world.events()[-1] == "stopped"
    assert "stopped" in world.seen[-1]["reason"]
    for path in (world.files.socket, world.files.control, world.files.agent_state):
        assert not path.exists()


async def test_the_agent_ends_when_asked_to(world: World) -> None:
    await world.running()
    await asyncio.to_thread(launch.stop, world.files)
    assert world.task is not None
    await asyncio.wait_for(world.task, 20)
    assert world.events()[-1] == "stopped"
    assert world.seen[-1]["asked"] is True
    assert not launch.is_alive(world.files)


async def test_a_second_agent_never_runs(world: World) -> None:
    await world.running()
    second = Agent(world.machine, resumed=True)
    with pytest.raises(MachineProblem, match="runs already"):
        await second.run()
    answer = await asyncio.to_thread(get, str(world.files.socket), "/_ping")
    assert answer.endswith(b"OK"), "the first one is unharmed"


async def test_the_clock_is_looked_at_and_a_failure_does_not_end_the_connection(
    world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("wherry.agent.pulse.ASK", "echo 1000")  # a guest in 1970
    monkeypatch.setattr("wherry.agent.pulse.STEP", "echo no such right >&2; exit 1")
    await world.running()
    said = ""

    def complained() -> bool:
        nonlocal said
        said += capfd.readouterr().out
        return "no such right" in said

    await until(complained)
    assert world.events().count("degraded") == 0


async def test_a_guest_whose_clock_was_stepped_is_an_event(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wherry.agent.pulse.ASK", "echo $(( $(date +%s) - 3600 ))")
    monkeypatch.setattr("wherry.agent.pulse.STEP", "true {epoch}")
    await world.running()
    stepped = await world.reaches("clock-stepped")
    assert -3605 < stepped["offset_seconds"] < -3595


async def test_the_sockets_of_a_killed_agent_are_swept_away(world: World) -> None:
    world.files.socket.parent.mkdir(parents=True, exist_ok=True)
    for path in (world.files.socket, world.files.control, world.files.agent_state):
        path.touch()
    launch.stop(world.files)
    assert not world.files.socket.exists()
    with contextlib.suppress(FileNotFoundError):
        assert list(world.files.socket.parent.iterdir()) == []
