"""From a create request to config.json, and users by hand."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft4Validator
from referencing import Registry
from referencing.jsonschema import DRAFT4

from wherryd.containers import request
from wherryd.errors import InvalidParameter
from wherryd.spec import build, capabilities, defaults, users

NAMESPACES: dict[str, str | None] = {
    "mount": None,
    "pid": None,
    "ipc": None,
    "uts": None,
    "network": "/run/n",
    "cgroup": None,
}


def plan(host: dict[str, Any] | None = None, **changes: Any) -> build.Plan:
    base = build.Plan(
        container_id="c" * 64,
        arguments=["sh"],
        environment=["A=b"],
        working_directory="",
        user=users.User(),
        terminal=False,
        hostname="box",
        domainname="",
        host_config=request.parse({"HostConfig": host or {}}).host_config,
        namespaces=NAMESPACES,
        cgroup_parent="/wherry",
        available_capabilities=capabilities.ALL,
    )
    return replace(base, **changes)


def destinations(document: dict[str, Any]) -> list[str]:
    return [mount["destination"] for mount in document["mounts"]]


def test_a_plain_container_has_dockers_defaults() -> None:
    document = build.build(plan())
    process = document["process"]
    assert process["capabilities"]["bounding"] == sorted(defaults.CAPABILITIES, key=capabilities.ALL.index)
    assert process["capabilities"]["inheritable"] == process["capabilities"]["ambient"] == []
    assert process["noNewPrivileges"] is False
    assert process["env"] == [f"PATH={defaults.PATH}", "HOSTNAME=box", "A=b", "HOME=/"]
    assert document["linux"]["maskedPaths"] == list(defaults.MASKED_PATHS)
    assert document["linux"]["cgroupsPath"] == "/wherry/" + "c" * 64
    assert {"type": "network", "path": "/run/n"} in document["linux"]["namespaces"]
    assert document["linux"]["resources"] == {
        "devices": list(defaults.DEVICE_RULES),
        "pids": {"limit": defaults.PIDS_LIMIT},
    }


def test_limits_are_in_the_kernels_units() -> None:
    host = {"Memory": 64 << 20, "NanoCpus": 500_000_000, "PidsLimit": 20, "CpuShares": 512}
    found = build.resources(request.parse({"HostConfig": host}).host_config)
    assert found["memory"] == {"limit": 64 << 20, "swap": 128 << 20}
    assert found["cpu"] == {"shares": 512, "quota": 50_000, "period": 100_000}
    assert found["pids"] == {"limit": 20}


def test_another_user_than_root_has_no_capability_in_force() -> None:
    sets = build.build(plan(user=users.User(uid=1000, gid=1000)))["process"]["capabilities"]
    assert sets["effective"] == sets["permitted"] == []
    assert sets["bounding"]


def test_privileged_takes_the_protections_away() -> None:
    document = build.build(plan({"Privileged": True}))
    assert document["linux"]["maskedPaths"] == document["linux"]["readonlyPaths"] == []
    assert document["linux"]["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert set(document["process"]["capabilities"]["effective"]) == set(capabilities.ALL)
    assert "ro" not in next(m for m in document["mounts"] if m["destination"] == "/sys")["options"]


def test_no_capability_is_given_that_the_engine_does_not_have() -> None:
    without = [name for name in capabilities.ALL if name != "CAP_SYS_RESOURCE"]
    document = build.build(plan({"Privileged": True}, available_capabilities=without))
    assert "CAP_SYS_RESOURCE" not in document["process"]["capabilities"]["bounding"]


@pytest.mark.parametrize(
    ("add", "drop", "expected"),
    [
        (["ALL"], [], capabilities.ALL),
        ([], ["ALL"], ()),
        (["net_admin"], ["ALL"], ("CAP_NET_ADMIN",)),
        (["ALL"], ["SYS_ADMIN"], tuple(n for n in capabilities.ALL if n != "CAP_SYS_ADMIN")),
    ],
)
def test_add_and_drop(add: list[str], drop: list[str], expected: tuple[str, ...]) -> None:
    assert tuple(capabilities.effective(add, drop)) == expected


def test_a_request_covers_a_default_mount_and_parents_come_first() -> None:
    mounts = [
        build.UserMount(type="bind", source="/s", destination="/a/b/c"),
        build.UserMount(type="tmpfs", source="", destination="/dev/shm", options=("size=1m",)),
        build.UserMount(type="bind", source="/s", destination="/a", read_only=True),
    ]
    document = build.build(plan(mounts=mounts))
    assert destinations(document).count("/dev/shm") == 1
    assert destinations(document).index("/a") < destinations(document).index("/a/b/c")
    assert next(m for m in document["mounts"] if m["destination"] == "/a")["options"] == [
        "rbind",
        "ro",
        "rro",
        "rprivate",
    ]


def test_shared_namespaces_are_left_out_and_bring_their_mounts() -> None:
    shared = {kind: path for kind, path in NAMESPACES.items() if kind not in ("ipc", "network", "uts")}
    document = build.build(plan({"IpcMode": "host", "NetworkMode": "host"}, namespaces=shared))
    assert "hostname" not in document
    assert next(m for m in document["mounts"] if m["destination"] == "/dev/shm")["type"] == "bind"
    assert document["linux"]["sysctl"] == {}


def test_the_document_fits_the_runtime_specs_schema() -> None:
    shared = Path(os.environ.get("WHERRY_SHARED", Path(__file__).parents[3] / "shared"))
    folder = shared / "data/oci/runtime-spec/schema"
    if not (folder / "config-schema.json").exists():
        pytest.skip("needs the OCI runtime spec's schemas (WHERRY_SHARED)")
    schemas = {path.name: json.loads(path.read_text()) for path in folder.glob("*.json")}
    registry = Registry().with_resources(
        (name, DRAFT4.create_resource(schema)) for name, schema in schemas.items()
    )
    host = {"Memory": 64 << 20, "Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": -1}]}
    document = build.build(plan(host, terminal=True, console_size=(24, 80)))
    Draft4Validator(schemas["config-schema.json"], registry=registry).validate(document)


PASSWD = b"root:x:0:0::/root:/bin/sh\nweb:x:33:44::/srv:/bin/sh\nbad:x:no:1::/:\nhuge:x:10:10::/h:/x\n"
GROUP = b"root:x:0:\nweb:x:44:\nextra:x:55:other,web\n"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("", users.User(home="/root")),
        ("web", users.User(uid=33, gid=44, additional_gids=(55,), home="/srv")),
        ("33", users.User(uid=33, gid=44, additional_gids=(55,), home="/srv")),
        ("web:extra", users.User(uid=33, gid=55, home="/srv")),
        ("1234", users.User(uid=1234)),
        ("1234:44", users.User(uid=1234, gid=44)),
    ],
)
def test_users_are_found(spec: str, expected: users.User) -> None:
    assert users.resolve(spec, PASSWD, GROUP) == expected


@pytest.mark.parametrize(
    "spec", ["nobody", "web:nogroup", "2147483648", "99999999999", "0:4294967296", "bad"]
)
def test_an_unknown_or_impossible_user_is_refused(spec: str) -> None:
    with pytest.raises(InvalidParameter):
        users.resolve(spec, PASSWD, GROUP)


def test_added_groups() -> None:
    assert users.resolve("1", PASSWD, GROUP, ["extra", "77"]).additional_gids == (55, 77)


HOSTILE_PASSWD = (
    b"1000:x:0:0::/root:/bin/sh\n"
    b"nul\0:x:0:0::/root:/bin/sh\nnul:x:7:7::/ho\0me:/bin/sh\n"
    b"huge:x:4294967296:0::/:/bin/sh\n-1:x:-1:-1::/:/bin/sh\n"
    b"unicode:x:\xd9\xa1:0::/:/bin/sh\n" + b"::::::\n" * 1000 + b"web:x:33:44::/srv:/bin/sh\n"
)
HOSTILE_GROUP = b"44:x:0:\n1000:x:0:web\nhuge:x:99999999999:web\nextra:x:55:\n"


def test_a_number_is_never_taken_for_a_name() -> None:
    """CVE-2016-3697: `--user 1000` of an image that calls its root "1000"."""
    assert users.resolve("1000", HOSTILE_PASSWD, HOSTILE_GROUP) == users.User(uid=1000, gid=0)
    assert users.resolve("1:44", HOSTILE_PASSWD, HOSTILE_GROUP).gid == 44
    assert users.resolve("1", HOSTILE_PASSWD, HOSTILE_GROUP, ["44", "1000"]).additional_gids == (44, 1000)


def test_lines_that_nobody_asked_for_do_no_harm() -> None:
    assert users.resolve("web:extra", HOSTILE_PASSWD, HOSTILE_GROUP).uid == 33
    assert users.resolve("web", HOSTILE_PASSWD, HOSTILE_GROUP).additional_gids == (0,)  # it is in "1000"
    for name in ("nul", "unicode"):
        with pytest.raises(InvalidParameter, match="unable to find user"):
            users.resolve(name, HOSTILE_PASSWD, HOSTILE_GROUP)
    with pytest.raises(InvalidParameter, match="range"):
        users.resolve("huge", HOSTILE_PASSWD, HOSTILE_GROUP)
