"""`run`'s options -> the body of POST /containers/create. Expected bodies are what docker 28.2.2 sends."""

from pathlib import Path
from typing import Any

import pytest

from wherry.engine.create import CreateOptions, body
from wherry.errors import UsageProblem

CWD = Path("/home/me")
ENVIRON = {"FOO": "bar"}


def made(**options: Any) -> dict[str, Any]:
    return body(CreateOptions(image="img", **options), environ=ENVIRON, cwd=CWD)


def host(**options: Any) -> dict[str, Any]:
    document: dict[str, Any] = made(**options)["HostConfig"]
    return document


def test_only_what_was_asked_for_is_sent() -> None:
    assert made() == {
        "Image": "img",
        "AttachStdout": True,
        "AttachStderr": True,
        "HostConfig": {"NetworkMode": "default", "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}},
    }


def test_detached_interactive_keeps_stdin_open_without_attaching() -> None:
    document = made(detach=True, interactive=True, tty=True)
    assert document["OpenStdin"] is True
    assert document["Tty"] is True
    assert "StdinOnce" not in document
    assert not {key for key in document if key.startswith("Attach")}


def test_attached_interactive_closes_stdin_with_the_client() -> None:
    document = made(interactive=True)
    assert document["AttachStdin"] is True
    assert document["StdinOnce"] is True


def test_attach_chooses_streams() -> None:
    document = made(attach=("STDERR",))
    assert document["AttachStderr"] is True
    assert "AttachStdout" not in document


def test_command_and_entrypoint() -> None:
    assert made(command=("a", "b"), entrypoint="/e")["Entrypoint"] == ["/e"]
    assert made(entrypoint="")["Entrypoint"] == [""]
    assert made(command=("a", "b"))["Cmd"] == ["a", "b"]


@pytest.mark.parametrize(
    ("spec", "bindings"),
    [
        ("80", {"80/tcp": [{"HostIp": "", "HostPort": ""}]}),
        ("8080:80", {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}),
        ("127.0.0.1:53:53/udp", {"53/udp": [{"HostIp": "127.0.0.1", "HostPort": "53"}]}),
        ("127.0.0.1::81", {"81/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}),
        ("[::1]:5:6", {"6/tcp": [{"HostIp": "::1", "HostPort": "5"}]}),
        ("7000-7010:70", {"70/tcp": [{"HostIp": "", "HostPort": "7000-7010"}]}),
        (
            "9000-9001:90-91/TCP",
            {"90/tcp": [{"HostIp": "", "HostPort": "9000"}], "91/tcp": [{"HostIp": "", "HostPort": "9001"}]},
        ),
        ("published=1,target=2,protocol=udp", {"2/udp": [{"HostIp": "", "HostPort": "1"}]}),
    ],
)
def test_publish(spec: str, bindings: dict[str, Any]) -> None:
    document = made(publish=(spec,))
    assert document["HostConfig"]["PortBindings"] == bindings
    assert document["ExposedPorts"] == {key: {} for key in bindings}


def test_one_port_may_be_published_twice() -> None:
    bindings = host(publish=("1:80", "2:80"))["PortBindings"]
    assert [binding["HostPort"] for binding in bindings["80/tcp"]] == ["1", "2"]


def test_expose_takes_ranges() -> None:
    assert made(expose=("80", "90-91/udp"))["ExposedPorts"] == {"80/tcp": {}, "90/udp": {}, "91/udp": {}}


def test_volumes_and_binds() -> None:
    document = made(volume=("/a:/b:ro", "name:/n", "./rel:/r", "/anon", "C:\\x:/w"))
    assert document["HostConfig"]["Binds"] == ["/a:/b:ro", "name:/n", "/home/me/rel:/r", "C:\\x:/w"]
    assert document["Volumes"] == {"/anon": {}}


def test_mounts() -> None:
    mounts = host(
        mount=(
            "type=bind,source=/a,target=/b,readonly",
            "type=tmpfs,dst=/t,tmpfs-size=64m,tmpfs-mode=1777",
            "src=v,dst=/v,volume-nocopy,volume-opt=o=x,volume-driver=local,volume-label=a=b",
            "type=bind,src=/a,dst=/b,ro=false,bind-propagation=rslave",
            "type=image,source=tools:1,target=/t,image-subpath=opt/t",
        )
    )["Mounts"]
    assert mounts == [
        {"Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": True},
        {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 64 << 20, "Mode": 0o1777}},
        {
            "Type": "volume",
            "Source": "v",
            "Target": "/v",
            "VolumeOptions": {
                "NoCopy": True,
                "DriverConfig": {"Options": {"o": "x"}, "Name": "local"},
                "Labels": {"a": "b"},
            },
        },
        {
            "Type": "bind",
            "Source": "/a",
            "Target": "/b",
            "ReadOnly": False,
            "BindOptions": {"Propagation": "rslave"},
        },
        {"Type": "image", "Source": "tools:1", "Target": "/t", "ImageOptions": {"Subpath": "opt/t"}},
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("type=image,dst=/t", "source is required for an image"),
        ("type=image,src=a,dst=/t,volume-nocopy", "cannot mix 'volume-\\*' options with mount type 'image'"),
        (
            "type=volume,src=a,dst=/t,image-subpath=x",
            "cannot mix 'image-\\*' options with mount type 'volume'",
        ),
    ],
)
def test_words_of_an_image_mount_that_do_not_fit_are_told(words: str, said: str) -> None:
    with pytest.raises(UsageProblem, match=said):
        host(mount=(words,))


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("bind-recursive=enabled", {}),
        ("bind-recursive=disabled", {"NonRecursive": True}),
        ("readonly,bind-recursive=writable", {"ReadOnlyNonRecursive": True}),
        (
            "readonly,bind-recursive=readonly,bind-propagation=rprivate",
            {"ReadOnlyForceRecursive": True, "Propagation": "rprivate"},
        ),
    ],
)
def test_a_bind_says_what_becomes_of_the_mounts_below(words: str, options: dict[str, Any]) -> None:
    assert host(mount=(f"type=bind,src=/a,dst=/b,{words}",))["Mounts"][0]["BindOptions"] == options


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("bind-recursive=writable", "requires 'readonly'"),
        ("readonly,bind-recursive=readonly", "requires 'bind-propagation=rprivate'"),
        ("bind-recursive=maybe", "invalid value for bind-recursive"),
    ],
)
def test_words_of_a_bind_that_do_not_fit_are_told(words: str, said: str) -> None:
    with pytest.raises(UsageProblem, match=said):
        host(mount=(f"type=bind,src=/a,dst=/b,{words}",))


def test_environment_of_files_and_options(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("\ufeff# comment\nA=1\n  B=2 3\nFOO\nNOT_SET\n\n", encoding="utf-8")
    document = made(env=("C=4", "FOO", "GONE"), env_file=(str(file),))
    assert document["Env"] == ["A=1", "B=2 3", "FOO=bar", "C=4", "FOO=bar", "GONE"]


def test_labels_of_files_and_options(tmp_path: Path) -> None:
    file = tmp_path / "labels"
    file.write_text("x=1\ny\n", encoding="utf-8")
    assert made(label=("x=2", "z"), label_file=(str(file),))["Labels"] == {"x": "2", "y": "", "z": ""}


def test_limits() -> None:
    limits = host(
        memory="512m", memory_swap="-1", cpus="1.5", shm_size="1g", pids_limit=100, ulimit=("nofile=1:2",)
    )
    assert limits["Memory"] == 512 << 20
    assert limits["MemorySwap"] == -1
    assert limits["NanoCpus"] == 1_500_000_000
    assert limits["ShmSize"] == 1 << 30
    assert limits["PidsLimit"] == 100
    assert limits["Ulimits"] == [{"Name": "nofile", "Soft": 1, "Hard": 2}]


def test_devices() -> None:
    devices = host(device=("/dev/a", "/dev/b:/dev/c", "/dev/d:r", "/dev/e:/dev/f:rw"))["Devices"]
    assert [tuple(device.values()) for device in devices] == [
        ("/dev/a", "/dev/a", "rwm"),
        ("/dev/b", "/dev/c", "rwm"),
        ("/dev/d", "/dev/d", "r"),
        ("/dev/e", "/dev/f", "rw"),
    ]


def test_security_options_are_read_here(tmp_path: Path) -> None:
    profile = tmp_path / "profile.json"
    profile.write_text('{ "defaultAction": "SCMP_ACT_ALLOW" }', encoding="utf-8")
    document = host(security_opt=(f"seccomp={profile}", "systempaths=unconfined", "no-new-privileges"))
    assert document["SecurityOpt"] == ['seccomp={"defaultAction":"SCMP_ACT_ALLOW"}', "no-new-privileges"]
    assert (document["MaskedPaths"], document["ReadonlyPaths"]) == ([], [])


def test_health_check() -> None:
    assert made(health_cmd="curl x", health_interval="1m30s", health_timeout="500ms", health_retries=3)[
        "Healthcheck"
    ] == {
        "Test": ["CMD-SHELL", "curl x"],
        "Interval": 90_000_000_000,
        "Timeout": 500_000_000,
        "Retries": 3,
    }
    assert made(no_healthcheck=True)["Healthcheck"] == {"Test": ["NONE"]}


def test_init_is_sent_only_when_said() -> None:
    assert "Init" not in host()
    assert host(init=False)["Init"] is False


def test_restart_policies() -> None:
    assert host(restart="on-failure:3")["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}


def test_networks_with_options() -> None:
    document = made(network=("name=n2,alias=q,driver-opt=a=b,ip=10.0.0.5", "other"))
    assert document["HostConfig"]["NetworkMode"] == "n2"
    assert document["NetworkingConfig"]["EndpointsConfig"] == {
        "n2": {"Aliases": ["q"], "DriverOpts": {"a": "b"}, "IPAMConfig": {"IPv4Address": "10.0.0.5"}},
        "other": {},
    }
    assert "NetworkingConfig" not in made(network=("host",))


def test_console_size_goes_only_with_a_tty() -> None:
    options = {"environ": ENVIRON, "cwd": CWD, "console_size": (24, 80)}
    assert body(CreateOptions(image="i", tty=True), **options)["HostConfig"]["ConsoleSize"] == [24, 80]  # type: ignore[arg-type]
    assert "ConsoleSize" not in body(CreateOptions(image="i"), **options)["HostConfig"]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"publish": ("80:x",)}, "invalid containerPort: x"),
        ({"publish": ("80:99999",)}, "invalid containerPort: 99999"),
        ({"publish": ("1-2:80-82",)}, "invalid ranges specified"),
        ({"publish": ("80/icmp",)}, "invalid proto: icmp"),
        ({"publish": ("1.2.3:80:80",)}, "invalid IP address: 1.2.3"),
        ({"publish": ("80:",)}, "no port specified"),
        ({"publish": ("a=1,b",)}, "invalid publish opts format"),
        ({"expose": ("x",)}, "invalid range format for --expose"),
        ({"volume": ("a:b:c:d",)}, "invalid volume specification"),
        ({"volume": ("/a:b",)}, "must be absolute"),
        ({"mount": ("type=bind,target=/x",)}, "source is required"),
        ({"mount": ("type=bind,source=/x",)}, "target is required"),
        ({"mount": ("type=tmpfs,dst=/x,volume-nocopy",)}, "cannot mix"),
        ({"mount": ("dst=/x,colour=red",)}, "unknown option 'colour'"),
        ({"mount": ("dst=/x,readonly=maybe",)}, "ParseBool"),
        ({"env": ("=x",)}, "invalid environment variable"),
        ({"env_file": ("/nonexistent",)}, "open /nonexistent: no such file or directory"),
        ({"memory": "10x"}, 'for "--memory" flag: invalid size'),
        ({"memory": "1.2.3m"}, 'for "--memory" flag: invalid size'),
        ({"memory_swappiness": 101}, "swappiness range is 0-100"),
        ({"cpus": "many"}, "failed to parse many"),
        ({"cpus": "inf"}, "failed to parse inf"),
        ({"cpus": "0.0000000001"}, "too precise"),
        ({"ulimit": ("nofile=2:1",)}, "less than or equal to hard limit: 2 > 1"),
        ({"ulimit": ("colour=1",)}, "invalid ulimit type"),
        ({"dns": ("10.0.0",)}, "IP address is not correctly formatted: 10.0.0"),
        ({"dns_search": ("a_b",)}, "a_b is not a valid domain"),
        ({"pid": "mine"}, "--pid: invalid PID mode"),
        ({"cgroupns": "container:x"}, "--cgroupns: invalid CGROUP mode"),
        ({"storage_opt": ("size",)}, "invalid storage option"),
        ({"device_read_bps": ("/dev/a:x",)}, 'for "--device-read-bps" flag: invalid rate'),
        ({"device": ("relative",)}, "not an absolute path"),
        ({"device": ("/dev/a:/dev/b:q",)}, "bad mode specified: q"),
        ({"restart": "on-failure:x"}, "maximum retry count must be an integer"),
        ({"restart": "always", "rm": True}, "cannot specify both --restart and --rm"),
        ({"add_host": ("h:1.2.3",)}, "invalid IP address in add-host"),
        ({"sysctl": ("a",)}, "sysctl 'a' is not allowed"),
        ({"security_opt": ("seccomp=/nonexistent",)}, "opening seccomp profile"),
        ({"security_opt": ("label",)}, "Invalid --security-opt"),
        ({"no_healthcheck": True, "health_cmd": "x"}, "--no-healthcheck conflicts"),
        ({"health_interval": "5"}, 'for "--health-interval" flag: time: invalid duration'),
        ({"health_timeout": "-5s"}, "--health-timeout cannot be negative"),
        ({"network": ("a", "a")}, "specified multiple times"),
        ({"network": ("host", "mine")}, "user-defined and non-user-defined"),
        ({"network_alias": ("x",)}, "only supported for user-defined networks"),
        ({"mac_address": "zz"}, "not a valid mac address"),
        ({"log_driver": "none", "log_opt": ("a=b",)}, "invalid logging opts for driver none"),
    ],
)
def test_what_cannot_be_is_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        made(**options)
    assert message in str(caught.value)


def test_env_file_names_the_bad_line(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("A=1\nB C=2\n", encoding="utf-8")
    with pytest.raises(UsageProblem, match=r"variable 'B C' contains whitespaces, line 2"):
        made(env_file=(str(file),))
    file.write_text("=x\n", encoding="utf-8")
    with pytest.raises(UsageProblem, match="no variable name on line 1"):
        made(env_file=(str(file),))
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageProblem, match="not UTF-8"):
        made(env_file=(str(file),))
