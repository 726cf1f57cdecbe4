"""The table of what the Engine API has since when: against the reference's own notes, and what it does."""

import copy
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wherryd.api import createrequest, gates, history
from wherryd.api.gates import Before, Row, Since, Until, Version
from wherryd.errors import InvalidParameter
from wherryd.http.messages import Query

SHARED = Path(os.environ.get("WHERRY_SHARED", Path(__file__).parents[3] / "shared"))
NOTES = SHARED / "data/engine-api/CHANGELOG.md"

TABLES: dict[str, tuple[Row, ...]] = {
    name: value
    for name, value in vars(history).items()
    if isinstance(value, tuple) and isinstance(value[0], Since | Until | Before)
}
#: What the notes call a field, where that is not its name.
WORDS = {
    ((1, 31), "Metadata"): "ImageMetadata",
    ((1, 45), "NetworkSettings"): "Aliases",
    ((1, 46), "Annotations"): "annotations",
    ((1, 48), "Mounts"): "type `image`",
    ((1, 48), "HostConfig"): "type `image`",
}
#: Versions whose notes do not tell of it: 1.24's own description has two parameters that 1.25's has not, and
#: a network's field is described one version before its notes; 1.48 describes more of a descriptor.
NOT_NOTED = {
    ((1, 25), "before"),
    ((1, 25), "since"),
    ((1, 47), "EnableIPv4"),
    ((1, 48), "annotations"),
}


def every_row() -> Iterator[tuple[str, Row]]:
    for name, rows in [*TABLES.items(), *history.PARAMETERS.items()]:
        yield from ((name, row) for row in rows)


def test_the_notes_of_each_rows_version_tell_of_its_field() -> None:
    if not NOTES.exists():
        pytest.skip("needs the Engine API's version history (WHERRY_SHARED)")
    parts = re.split(r"^## [vV]1\.(\d+) API changes$", NOTES.read_text(), flags=re.MULTILINE)
    notes = {(1, int(number)): text for number, text in zip(parts[1::2], parts[2::2], strict=True)}
    seen, wrong = 0, []
    for where, row in every_row():
        key = row.version, row.path.rpartition(".")[2]
        seen += 1
        word = WORDS.get(key, key[1])
        if key not in NOT_NOTED and not re.search(rf"(?<!\w){re.escape(word)}(?!\w)", notes[row.version]):
            wrong.append(f"{where}: {row}")
    assert seen > 100
    assert not wrong, "\n".join(wrong)


def test_each_row_makes_a_difference_at_its_version_and_nowhere_else() -> None:
    versions = [(1, minor) for minor in range(24, 52)]
    for where, row in every_row():
        applied = [version for version in versions if row.applies(version)]
        on_one_side = versions[: len(applied)] if not isinstance(row, Until) else versions[-len(applied) :]
        assert applied == on_one_side, (where, row)
        assert 0 < len(applied) < len(versions), (where, row)
        assert (row.version in applied) is isinstance(row, Until)


def test_rows_drop_and_put_fields_deep_in_documents_that_stay_as_they_were() -> None:
    rows: tuple[Row, ...] = (
        Since((1, 40), "A.*.B"),
        Until((1, 45), "C"),
        Before((1, 42), "A.*.D", lambda holder: holder["E"] + 1),
        Before((1, 30), "F", "old"),
    )
    document = {"A": [{"B": 1, "E": 1}, {"E": 2}], "C": 3}
    kept = copy.deepcopy(document)
    assert gates.fit(document, rows, (1, 29)) == {
        "A": [{"E": 1, "D": 2}, {"E": 2, "D": 3}],
        "C": 3,
        "F": "old",
    }
    assert gates.fit(document, rows, (1, 41)) == {"A": [{"B": 1, "E": 1, "D": 2}, {"E": 2, "D": 3}], "C": 3}
    assert gates.fit(document, rows, (1, 44)) == document
    assert gates.fit(document, rows, (1, 45)) == {"A": document["A"]}
    assert gates.fit({"A": {"x": {"B": 1, "E": 0}}}, rows, (1, 39))["A"] == {"x": {"E": 0, "D": 1}}
    assert gates.fit({"A": "of another kind", "C": None}, rows, (1, 29))["A"] == "of another kind"
    assert document == kept


def test_a_field_that_a_version_refuses_is_refused_only_when_it_is_used() -> None:
    rows = (Since((1, 45), "Mounts.*.Subpath", "Subpath needs API v1.45 or newer"),)
    with pytest.raises(InvalidParameter, match="needs API v1.45"):
        gates.fit({"Mounts": [{"Subpath": "x"}]}, rows, (1, 44))
    assert gates.fit({"Mounts": [{"Subpath": ""}]}, rows, (1, 44)) == {"Mounts": [{}]}
    assert gates.fit({"Mounts": [{"Subpath": "x"}]}, rows, (1, 45)) == {"Mounts": [{"Subpath": "x"}]}


@pytest.mark.parametrize(
    ("route", "query", "first_with", "last_without"),
    [
        ("POST /containers/{id}/stop", "signal=INT", (1, 42), (1, 41)),
        ("POST /containers/{id}/wait", "condition=removed", (1, 30), (1, 29)),
        ("GET /images/{name}/json", "platform=x", (1, 49), (1, 48)),
        ("GET /images/json", "filter=x", (1, 40), (1, 41)),
        ("GET /containers/json", "before=x", (1, 24), (1, 25)),
    ],
)
def test_a_version_is_deaf_to_parameters_that_it_does_not_have(
    route: str, query: str, first_with: Version, last_without: Version
) -> None:
    given = Query(f"{query}&t=3&t=4")
    assert dict(history.parameters(route, given, first_with)) == dict(given)
    found = history.parameters(route, given, last_without)
    assert (dict(found), found.getall("t", [])) == ({"t": "3"}, ["3", "4"])


def read(body: dict[str, Any], minor: int, *, cgroup_version: int = 2) -> tuple[dict[str, Any], list[str]]:
    return createrequest.read(body, (1, minor), cgroup_version=cgroup_version)


def test_defaults_of_a_container_are_those_of_the_clients_version() -> None:
    assert read({}, 39)[0]["HostConfig"]["IpcMode"] == "shareable"
    assert "IpcMode" not in read({}, 40)[0]["HostConfig"]
    assert read({"HostConfig": {"IpcMode": "host"}}, 39)[0]["HostConfig"]["IpcMode"] == "host"
    assert read({}, 40, cgroup_version=1)[0]["HostConfig"]["CgroupnsMode"] == "host"
    assert "CgroupnsMode" not in read({}, 40)[0]["HostConfig"]
    assert "CgroupnsMode" not in read({}, 41, cgroup_version=1)[0]["HostConfig"]


def test_fields_that_a_version_does_not_know_are_not_read() -> None:
    body = {
        "Healthcheck": {"Test": ["CMD", "x"], "StartInterval": 5},
        "HostConfig": {
            "AutoRemove": True,
            "Annotations": {"a": "b"},
            "ConsoleSize": [1, 2],
            "Mounts": [{"Type": "tmpfs", "Target": "/x", "VolumeOptions": {"NoCopy": True}}],
        },
    }
    old, _ = read(body, 24)
    assert old["Healthcheck"] == {"Test": ["CMD", "x"]}
    assert {"AutoRemove", "Annotations", "ConsoleSize"}.isdisjoint(old["HostConfig"])
    assert old["HostConfig"]["Mounts"][0]["VolumeOptions"] is None
    new, _ = read(body, 51)
    assert new["Healthcheck"] == body["Healthcheck"]
    assert new["HostConfig"] == body["HostConfig"]


@pytest.mark.parametrize(
    ("minor", "body", "words"),
    [
        (
            43,
            {"NetworkingConfig": {"EndpointsConfig": {"a": {}, "b": {}}}},
            "multiple network endpoints: a, b",
        ),
        (47, {"HostConfig": {"Mounts": [{"Type": "image"}]}}, 'Mount type "Image" needs API v1.48'),
        (44, {"HostConfig": {"Mounts": [{"VolumeOptions": {"Subpath": "x"}}]}}, "Subpath needs API v1.45"),
        (
            43,
            {"HostConfig": {"Mounts": [{"BindOptions": {"ReadOnlyForceRecursive": True}}]}},
            "ReadOnlyForceRecursive needs API v1.44",
        ),
        (
            43,
            {"MacAddress": "02:00:00:00:00:01", "HostConfig": {"NetworkMode": "host"}},
            "mac-address and the",
        ),
    ],
)
def test_wishes_beyond_a_version_are_refused_and_taken_from_the_next_on(
    minor: int, body: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidParameter, match=words):
        read(body, minor)
    read(body, minor + 1)


def test_a_containers_own_mac_address_goes_to_its_first_network() -> None:
    body = {"MacAddress": "02:00:00:00:00:01", "HostConfig": {"NetworkMode": "lan"}}
    old, told = read(body, 43)
    assert old["NetworkingConfig"]["EndpointsConfig"] == {"lan": {"MacAddress": "02:00:00:00:00:01"}}
    assert (old["MacAddress"], told) == ("02:00:00:00:00:01", [])
    new, told = read(body, 44)
    assert new["NetworkingConfig"] == old["NetworkingConfig"]
    assert new["MacAddress"] == ""
    assert "deprecated" in told[0]


def test_a_mac_address_of_an_endpoint_is_not_read_before_it_was_there() -> None:
    body = {"NetworkingConfig": {"EndpointsConfig": {"bridge": {"MacAddress": "02:00:00:00:00:01"}}}}
    assert read(body, 43)[0]["NetworkingConfig"]["EndpointsConfig"] == {"bridge": {}}
    assert read(body, 44)[0]["NetworkingConfig"] == body["NetworkingConfig"]


def test_two_mac_addresses_that_differ_and_a_network_that_is_not_named_are_refused() -> None:
    endpoints = {"EndpointsConfig": {"lan": {"MacAddress": "02:00:00:00:00:02"}}}
    body = {"MacAddress": "02:00:00:00:00:01", "NetworkingConfig": endpoints}
    with pytest.raises(InvalidParameter, match="must match the endpoint-specific"):
        read({**body, "HostConfig": {"NetworkMode": "lan"}}, 51)
    with pytest.raises(InvalidParameter, match="must match the identity"):
        read({**body, "HostConfig": {"NetworkMode": "other"}}, 51)


def test_sysctls_of_eth0_go_to_the_first_network_and_are_refused_from_1_48_on() -> None:
    body = {"HostConfig": {"Sysctls": {"net.ipv4.conf.eth0.log_martians": "1", "net.core.somaxconn": "9"}}}
    old, told = read(body, 47)
    assert old["HostConfig"]["Sysctls"] == {"net.core.somaxconn": "9"}
    options = old["NetworkingConfig"]["EndpointsConfig"]["bridge"]["DriverOpts"]
    assert options == {"com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.log_martians=1"}
    assert told[0].startswith('Migrated sysctl "net.ipv4.conf.eth0.log_martians" to DriverOpts')
    with pytest.raises(InvalidParameter, match="must be supplied using driver option"):
        read(body, 48)
    with pytest.raises(InvalidParameter, match="unable to determine network endpoint"):
        read({"HostConfig": {"Sysctls": {"net.ipv4.conf.eth1.log_martians": "1"}}}, 47)
    of_the_host = {"HostConfig": {**body["HostConfig"], "NetworkMode": "host"}}
    assert read(of_the_host, 51)[0]["HostConfig"] == of_the_host["HostConfig"]


def test_a_volume_driver_that_reaches_no_mount_is_warned_of_since_1_48() -> None:
    mount = {"Type": "volume", "Target": "/x"}
    body = {"HostConfig": {"VolumeDriver": "local", "Mounts": [mount]}}
    assert read(body, 47)[1] == []
    assert "is ignored for volumes specified via 'mount'" in read(body, 48)[1][0]
    named = {**mount, "VolumeOptions": {"DriverConfig": {"Name": "local"}}}
    assert read({"HostConfig": {"VolumeDriver": "local", "Mounts": [named]}}, 48)[1] == []


@pytest.mark.parametrize(
    "body",
    [
        {"HostConfig": 5},
        {"HostConfig": {"Mounts": "x", "Sysctls": ["net.ipv4.conf.eth0.x"]}},
        {"NetworkingConfig": {"EndpointsConfig": [1]}, "MacAddress": 5},
        {"NetworkingConfig": {"EndpointsConfig": {"bridge": 5}}, "MacAddress": "x"},
        {"Healthcheck": "x", "HostConfig": {"NetworkMode": 5, "Mounts": [5, {"BindOptions": 5}]}},
        {"HostConfig": {"VolumeDriver": "x", "Mounts": [{"Type": "volume", "VolumeOptions": 5}]}},
    ],
)
def test_what_has_a_wrong_shape_is_left_for_who_checks_requests(body: dict[str, Any]) -> None:
    for minor in (24, 43, 47, 51):
        read(body, minor)


def test_events_are_told_from_the_version_that_has_them() -> None:
    assert [history.has_event("image", "create", version) for version in ((1, 45), (1, 46))] == [False, True]
    assert [history.has_event("volume", "prune", version) for version in ((1, 40), (1, 41))] == [False, True]
    assert history.has_event("container", "create", (1, 24))
