"""The create request: every field is carried out, refused by name, or warned about."""

from typing import Any

import pytest

from wherryd.containers import mountpoints, ports, request
from wherryd.containers.fields import CONFIG, HOST_CONFIG, Verdict
from wherryd.errors import InvalidParameter, NotSupported
from wherryd.runtime import apparmor
from wherryd.spec import securityoptions


def parse(host: dict[str, Any] | None = None, **config: Any) -> request.CreateRequest:
    return request.parse({**config, "HostConfig": host or {}})


def test_an_empty_request_is_filled_with_defaults() -> None:
    found = parse()
    assert set(found.config) == set(CONFIG)
    assert set(found.host_config) == set(HOST_CONFIG)
    assert found.host_config["NetworkMode"] == "default"
    assert found.warnings == ()


def test_a_document_of_zeroes_asks_for_nothing() -> None:
    zeroes = {str: "", bool: False, int: 0, list: [], dict: {}, type(None): None}
    host = {key: zeroes[type(row.default)] for key, row in HOST_CONFIG.items()}
    assert parse(host).warnings == ()


_EXAMPLES = {"flag": True, "integer": 7, "string": "x", "strings": ["x"], "objects": [{"a": 1}],
             "mapping": {"Test": ["x"]}, "string_map": {"a": "b"}}  # fmt: skip


@pytest.mark.parametrize("key", [key for key, row in HOST_CONFIG.items() if row.verdict is Verdict.REFUSED])
def test_what_is_not_available_is_refused_by_name(key: str) -> None:
    value = _EXAMPLES[HOST_CONFIG[key].kind.__name__]
    with pytest.raises(NotSupported, match=f"HostConfig.{key}: "):
        parse({key: value})


@pytest.mark.parametrize("key", [key for key, row in HOST_CONFIG.items() if row.verdict is Verdict.WARNED])
def test_what_is_not_applied_is_warned_about_by_name(key: str) -> None:
    value = _EXAMPLES[HOST_CONFIG[key].kind.__name__]
    assert any(warning.startswith(f"{key}: ") for warning in parse({key: value}).warnings)


def test_unknown_fields_and_words_inside_are_warned_about_by_name() -> None:
    found = request.parse(
        {
            "Healthcheck": {"Test": ["NONE"], "Colour": "red", "Empty": ""},
            "HostConfig": {
                "Mounts": [
                    {"Type": "bind", "Source": "/a", "Target": "/a", "Consistency": "Cached"},
                    {
                        "Type": "bind",
                        "Source": "/b",
                        "Target": "/b",
                        "Consistency": "loose",
                        "BindOptions": {"Recursive": True},
                    },
                ],
                "PortBindings": {"80/tcp": [{"HostPort": "1", "Host": "x"}]},
                "LogConfig": {"Type": "none", "Config": {}, "Level": 3},
            },
            "NetworkingConfig": {
                "EndpointsConfig": {"net": {"NetworkID": "told", "IPAMConfig": {"IPv5Address": "1"}}}
            },
        }
    )
    assert [warning.partition(" is not known")[0] for warning in found.warnings] == [
        "Healthcheck.Colour:",
        'HostConfig.Mounts[1].Consistency: "loose"',
        "HostConfig.Mounts[1].BindOptions.Recursive:",
        "HostConfig.PortBindings.80/tcp[0].Host:",
        "HostConfig.LogConfig.Level:",
        "NetworkingConfig.EndpointsConfig.net.IPAMConfig.IPv5Address:",
    ]


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(InvalidParameter) as caught:
        request.parse({"Tty": "yes", "Env": "A=b", "HostConfig": {"Memory": "much"}})
    assert all(field in str(caught.value) for field in ("Tty", "Env", "HostConfig.Memory"))


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ({"Memory": 1024}, "Minimum memory limit allowed is 6MB"),
        ({"MemorySwap": 64 << 20}, "always set the Memory limit"),
        ({"Memory": 64 << 20, "MemorySwap": 32 << 20}, "larger than memory limit"),
        ({"NanoCpus": 10**15}, "range of CPUs"),
        ({"NanoCpus": 10**9, "CpuQuota": 5000}, "cannot both be set"),
        ({"CpusetCpus": "1-9223372036854775807"}, "CpusetCpus: invalid value"),
        ({"CpusetCpus": "0-99999"}, "beyond what a kernel can have"),
        ({"CpusetCpus": "3-1"}, "CpusetCpus"),
        ({"RestartPolicy": {"Name": "sometimes"}}, "unknown policy 'sometimes'"),
        ({"RestartPolicy": {"Name": "always", "MaximumRetryCount": 2}}, "only be used with 'on-failure'"),
        ({"RestartPolicy": {"Name": "always"}, "AutoRemove": True}, "can't create 'AutoRemove'"),
        ({"LogConfig": {"Type": "syslog"}}, "no log driver named 'syslog'"),
        ({"LogConfig": {"Config": {"max-size": "lots"}}}, "invalid value for max-size"),
        (
            {"LogConfig": {"Config": {"max-size": "-1", "max-file": "3"}}},
            "cannot be specified without max-size",
        ),
        ({"CapAdd": ["FLY"]}, 'invalid capability: "FLY"'),
        ({"Ulimits": [{"Name": "nofiles", "Soft": 1, "Hard": 1}]}, "invalid ulimit type"),
        ({"Ulimits": [{"Name": "nofile", "Soft": 2, "Hard": 1}]}, "less than or equal"),
        ({"PidMode": "other"}, "invalid PID mode"),
        ({"NetworkMode": "container:"}, "container:<name|id>"),
        ({"NetworkMode": "container:x", "PublishAllPorts": True}, "container type network mode"),
        ({"OomScoreAdj": 2000}, "range for oom score adj"),
    ],
)
def test_a_value_that_cannot_be_is_refused(host: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidParameter, match=words.replace("(", r"\(").replace("|", r"\|")):
        parse(host)


@pytest.mark.parametrize("option", ["apparmor=mine", "apparmor:mine", "apparmor=", "label=type:x"])
def test_security_options_we_cannot_honour_are_refused(option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apparmor, "is_enabled", lambda: False)
    with pytest.raises(NotSupported, match="SecurityOpt"):
        parse({"SecurityOpt": [option]})


def test_an_apparmor_profile_is_taken_where_the_kernel_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apparmor, "is_enabled", lambda: True)
    options = parse({"SecurityOpt": ["apparmor=one", "apparmor:two"]}).host_config["SecurityOpt"]
    assert securityoptions.apparmor_profile(options) == "two"
    assert securityoptions.apparmor_profile(["apparmor=two", "apparmor=unconfined"]) == ""
    assert securityoptions.apparmor_profile(None) == ""


def test_the_images_config_fills_what_the_request_leaves_open() -> None:
    image = {
        "Env": ["PATH=/bin", "A=image", "BROKEN"],
        "Cmd": ["serve"],
        "Entrypoint": ["/run"],
        "User": "web",
        "WorkingDir": "/srv",
        "ExposedPorts": {"80/tcp": {}},
        "Volumes": {"/data": {}},
        "Labels": {"from": "image", "both": "image"},
    }
    found = request.merge_image(parse(Env=["A=mine", "B=1"], Labels={"both": "mine"}), image).config
    assert found["Env"] == ["PATH=/bin", "A=mine", "B=1"]
    assert (found["Entrypoint"], found["Cmd"]) == (["/run"], ["serve"])
    assert (found["User"], found["WorkingDir"]) == ("web", "/srv")
    assert set(found["ExposedPorts"]) == {"80/tcp"}
    assert found["Labels"] == {"from": "image", "both": "mine"}


def test_a_new_entrypoint_drops_the_images_command() -> None:
    found = request.merge_image(
        parse(Entrypoint=["/mine"]), {"Cmd": ["serve"], "Entrypoint": ["/run"]}
    ).config
    assert (found["Entrypoint"], found["Cmd"]) == (["/mine"], None)


def test_an_empty_entrypoint_removes_the_images() -> None:
    found = request.merge_image(parse(Entrypoint=[""], Cmd=["x"]), {"Entrypoint": ["/run"]}).config
    assert (found["Entrypoint"], found["Cmd"]) == (None, ["x"])


def test_without_any_command_there_is_no_container() -> None:
    with pytest.raises(InvalidParameter, match="no command specified"):
        request.merge_image(parse(), {})


def points(host: dict[str, Any], **config: Any) -> tuple[mountpoints.MountPoint, ...]:
    found = parse(host, **config)
    return mountpoints.parse(found.config, found.host_config)


def test_binds_volumes_and_tmpfs_are_told_apart() -> None:
    found = points(
        {"Binds": ["/src:/a:ro", "name:/b", "/c"], "Tmpfs": {"/d": "size=1m"}}, Volumes={"/e": {}, "/a": {}}
    )
    assert [(p.type, p.source, p.name, p.destination, p.rw, p.anonymous) for p in found] == [
        ("bind", "/src", "", "/a", False, False),
        ("volume", "", "name", "/b", True, False),
        ("volume", "", "", "/c", True, True),
        ("tmpfs", "", "", "/d", True, False),
        ("volume", "", "", "/e", True, True),
    ]


@pytest.mark.parametrize(
    "bind",
    [
        "/a:b",
        "/a:/",
        "/a:/proc",
        "/a:/x:rw,ro",
        "/a:/x:wild",
        ":/x",
        "/a:",
        "a/b:/x",
        "/a:/x/../y",
        "/a:/b:ro:z",
    ],
)
def test_a_bad_bind_is_refused(bind: str) -> None:
    with pytest.raises(InvalidParameter):
        points({"Binds": [bind]})


def test_two_mounts_at_one_place_are_refused() -> None:
    with pytest.raises(InvalidParameter, match="Duplicate mount point: /x"):
        points({"Binds": ["/a:/x"], "Tmpfs": {"/x": ""}})


def test_ports_are_read_with_ranges_and_defaults() -> None:
    ranged = {"HostIp": "127.0.0.1", "HostPort": "1-3"}
    found = parse({"PortBindings": {"80": [{"HostPort": "8080"}], "53/udp": [], "90/tcp": [ranged]}})
    wanted = ports.wanted(found.config, found.host_config)
    assert {
        key: [(b.host_ip, b.host_port, b.host_port_last) for b in value] for key, value in wanted.items()
    } == {
        "80/tcp": [("", 8080, 0)],
        "53/udp": [("", 0, 0)],
        "90/tcp": [("127.0.0.1", 1, 3)],
    }


@pytest.mark.parametrize("key", ["0/tcp", "70000/tcp", "http", "80-90/tcp", ""])
def test_a_bad_port_is_refused(key: str) -> None:
    found = parse({"PortBindings": {key: [{}]}})
    with pytest.raises(InvalidParameter):
        ports.wanted(found.config, found.host_config)


@pytest.mark.parametrize(
    ("mode", "writable"), [("", [True, False]), ("rw,z", [True, False]), ("ro,Z", [False, False])]
)
def test_volumes_of_another_container_are_no_more_writable_than_there(
    mode: str, writable: list[bool]
) -> None:
    there = points({"Binds": ["name:/a", "/b:/b:ro"], "Tmpfs": {"/c": ""}})
    found = mountpoints.inherit(there, mode)
    assert [(point.destination, point.rw) for point in found] == list(
        zip(["/a", "/b"], writable, strict=True)
    )


@pytest.mark.parametrize("mode", ["ro,rw", "nocopy", "rshared", "wild"])
def test_a_mode_that_volumes_of_another_container_cannot_have_is_refused(mode: str) -> None:
    with pytest.raises(InvalidParameter, match=f"invalid mode: {mode}"):
        mountpoints.inherit((), mode)


def bound(**more: Any) -> dict[str, Any]:
    return {"Type": "bind", "Source": "/src", "Target": "/dst", **more}


@pytest.mark.parametrize(
    ("mount", "said"),
    [
        (bound(Source=""), "field Source must not be empty"),
        (bound(Source="src"), "invalid mount path: 'src' mount path must be absolute"),
        (bound(VolumeOptions={}), "field VolumeOptions must not be specified"),
        (bound(Target=""), "field Target must not be empty"),
        (bound(BindOptions={"Propagation": "wild"}), "invalid propagation mode: wild"),
        (
            bound(ReadOnly=True, BindOptions={"ReadOnlyNonRecursive": True, "ReadOnlyForceRecursive": True}),
            "mount options conflict: ReadOnlyNonRecursive && ReadOnlyForceRecursive",
        ),
        (bound(BindOptions={"ReadOnlyForceRecursive": True}), "are for read-only mounts"),
        ({"Type": "tmpfs", "Source": "x", "Target": "/dst"}, "field Source must not be specified"),
        (
            {"Type": "tmpfs", "Target": "/dst", "TmpfsOptions": {"Options": [["suid"]]}},
            "invalid option: suid",
        ),
        (
            {"Type": "volume", "Target": "/dst", "VolumeOptions": {"Subpath": "a"}},
            "must not set Subpath when",
        ),
        ({"Type": "nobody", "Target": "/dst"}, "mount type unknown"),
    ],
)
def test_a_bad_mount_is_refused_in_dockers_words(mount: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        points({"Mounts": [mount]})
    assert str(refused.value).startswith(f'invalid mount config for type "{mount["Type"]}": ')
    assert said in str(refused.value)


@pytest.mark.parametrize("mode", ["z,Z", "cached,delegated", "rshared,rslave"])
def test_two_modes_of_one_kind_are_refused(mode: str) -> None:
    with pytest.raises(InvalidParameter, match="invalid mode"):
        points({"Binds": [f"/a:/b:{mode}"]})


def test_a_tmpfs_may_run_programs_when_its_options_say_so() -> None:
    mount = {"Type": "tmpfs", "Target": "/dst", "TmpfsOptions": {"SizeBytes": 4096, "Options": [["exec"]]}}
    assert points({"Mounts": [mount]})[0].options == ("nosuid", "nodev", "size=4096", "exec")
