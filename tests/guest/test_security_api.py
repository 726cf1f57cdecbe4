"""Confinement through the API: what a plain container, and one that asks for more or less, gets."""

import json
from typing import Any

import pytest
from native_engine import NativeEngine

from wherryd.spec import defaults

pytestmark = pytest.mark.root


def logs(engine: NativeEngine, container: str) -> str:
    """stdout of a container with a terminal, once it has ended."""
    assert engine.wait(container) is not None
    return str(engine.call("GET", f"/containers/{container}/logs", stdout=1, stderr=1).text)


def said(engine: NativeEngine, script: str, host: dict[str, Any] | None = None, **fields: Any) -> str:
    container = engine.run("sh", "-c", script, Tty=True, HostConfig=host or {}, **fields)
    return logs(engine, container)


def seccomp_mode(engine: NativeEngine, host: dict[str, Any]) -> str:
    return said(engine, "grep Seccomp: /proc/self/status", host).split()[1]


def test_a_plain_container_is_filtered(engine: NativeEngine) -> None:
    assert seccomp_mode(engine, {}) == "2"
    assert seccomp_mode(engine, {"SecurityOpt": ["seccomp=builtin"]}) == "2"
    assert "name=seccomp,profile=builtin" in engine.call("GET", "/info").json["SecurityOptions"]


def test_unconfined_and_privileged_are_not_filtered(engine: NativeEngine) -> None:
    assert seccomp_mode(engine, {"SecurityOpt": ["seccomp=unconfined"]}) == "0"
    assert seccomp_mode(engine, {"SecurityOpt": ["seccomp:unconfined"]}) == "0"
    assert seccomp_mode(engine, {"Privileged": True}) == "0"


def test_a_profile_of_ones_own_is_carried_out_also_when_privileged(engine: NativeEngine) -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
        "syscalls": [
            {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 18},
            {"name": "rmdir", "action": "SCMP_ACT_ERRNO", "includes": {"caps": ["CAP_SYS_TIME"]}},
        ],
    }
    host: dict[str, Any] = {"SecurityOpt": [f"seccomp={json.dumps(profile)}"]}
    script = "mkdir /tmp/a; rmdir /tmp/b; echo end"
    for privileged, second in ((False, "No such file"), (True, "not permitted")):
        found = said(engine, script, host | {"Privileged": privileged})
        assert "Invalid cross-device link" in found
        assert second in found


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        ("/etc/profile.json", "the API takes the profile itself"),
        ("[]", "one JSON object"),
        ('{"defaultAction": "NO"}', "defaultAction"),
        (
            '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [], "action": "SCMP_ACT_KILL"}]}',
            "names",
        ),
    ],
)
def test_a_broken_profile_is_told_at_create(engine: NativeEngine, profile: str, words: str) -> None:
    body = {"Image": "busybox:test", "Cmd": ["true"], "HostConfig": {"SecurityOpt": [f"seccomp={profile}"]}}
    answer = engine.call("POST", "/containers/create", body)
    assert answer.status == 400
    assert words in answer.message


def test_a_capability_opens_the_calls_that_need_it(engine: NativeEngine) -> None:
    script = "mkdir -p /mnt; mount -t tmpfs none /mnt && echo mounted"
    assert "denied" in said(engine, script)
    assert "mounted" in said(engine, script, {"CapAdd": ["SYS_ADMIN"]})


def test_a_fork_bomb_meets_a_limit_without_being_asked_for_one(engine: NativeEngine) -> None:
    container = engine.run("sleep", "1000")
    process = engine.call("GET", f"/containers/{container}/stats", stream="false")
    assert process.json["pids_stats"]["limit"] == defaults.PIDS_LIMIT
    engine.remove(container)
    container = engine.run("sleep", "1000", HostConfig={"PidsLimit": -1})
    process = engine.call("GET", f"/containers/{container}/stats", stream="false")
    assert "limit" not in process.json["pids_stats"]
    engine.remove(container)
