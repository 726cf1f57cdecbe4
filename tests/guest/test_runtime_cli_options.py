"""wherry-runc's verbs and options beyond the life of a container, as callers of runc use them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from runc_rig import Runc, made
from runtime_rig import config

from wherryd.cgroups.manager import layout

pytestmark = pytest.mark.root

_MIB = 1024 * 1024


@pytest.fixture(scope="module")
def runc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runc]:
    with made(tmp_path_factory.mktemp("runc-options")) as runc:
        yield runc


@pytest.fixture(scope="module")
def sleeper(runc: Runc) -> str:
    """A container that runs."""
    runc.create("sleeper", "sleep", "1000")
    runc("start", "sleeper")
    return "sleeper"


def _run(runc: Runc, name: str, document: dict[str, Any], *options: str, **more: Any) -> str:
    bundle = runc.bundle(name, document)
    return runc("run", "-b", str(bundle), *options, name, **more).stdout


def _without(document: dict[str, Any], kind: str) -> list[dict[str, str]]:
    return [each for each in document["linux"]["namespaces"] if each["type"] != kind]


def _stats(runc: Runc, name: str) -> dict[str, Any]:
    line = json.loads(runc("events", "--stats", name).stdout)
    assert (line["type"], line["id"]) == ("stats", name)
    return dict(line["data"])


def test_update_takes_options_and_a_document(runc: Runc, sleeper: str) -> None:
    runc("update", "--memory", "64m", "--pids-limit", "9", sleeper)
    data = _stats(runc, sleeper)
    assert (data["memory"]["usage"]["limit"], data["pids"]["limit"]) == (64 * _MIB, 9)
    document = {"memory": {"limit": 32 * _MIB, "swap": 0}, "cpu": {"shares": 0}, "blockIO": {"weight": 0}}
    runc("update", "--resources", "-", sleeper, stdin=None, input=json.dumps(document))
    data = _stats(runc, sleeper)
    assert (data["memory"]["usage"]["limit"], data["pids"]["limit"]) == (32 * _MIB, 9)
    runc("update", "--memory", "-1", "--memory-swap", "-1", "--pids-limit", "-1", sleeper)
    assert _stats(runc, sleeper)["memory"]["usage"]["limit"] == 2**64 - 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--memory", "much"], "not a number"),
        ([], "nothing to change"),
        (["--cpuset-cpus", "9999"], "cpuset"),
    ],
)
def test_update_refuses_what_cannot_be(runc: Runc, sleeper: str, options: list[str], words: str) -> None:
    done = runc("update", *options, sleeper, check=False)
    assert (done.returncode, words in done.stderr) == (1, True), done.stderr


def test_events_end_with_the_container_and_tell_of_memory(runc: Runc) -> None:
    document = config("sh", "-c", "sleep 1; x=$(yes)")
    document["linux"]["resources"]["memory"] = {"limit": 16 * _MIB, "swap": 16 * _MIB}
    bundle = runc.bundle("hungry", document)
    runc("run", "-d", "-b", str(bundle), "hungry", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    lines = [json.loads(line) for line in runc("events", "--interval", "200ms", "hungry").stdout.splitlines()]
    assert lines[0]["type"] == "stats"
    assert "oom" in {line["type"] for line in lines}
    runc("delete", "hungry")
    assert "does not exist" in runc("events", "hungry", check=False).stderr


def test_spec_is_a_config_that_runs(runc: Runc) -> None:
    folder = runc.base / "spec"
    folder.mkdir()
    runc("spec", "--bundle", str(folder))
    document = json.loads((folder / "config.json").read_text())
    assert "exists" in runc("spec", "--bundle", str(folder), check=False).stderr
    document["process"] |= {"terminal": False, "args": ["sh", "-c", "hostname; touch /x"]}
    assert _run(runc, "spec-run", document, check=False) == "wherry\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["state", "nobody"], "container does not exist"),
        (["kill", "nobody"], "container does not exist"),
        (["state", "../x"], "invalid container ID format"),
        (["resume", "sleeper"], "container not paused"),
        (["kill", "sleeper", "NOSUCH"], "unknown signal"),
        (["--systemd-cgroup", "state", "sleeper"], "--systemd-cgroup is not supported"),
        (["--rootless=true", "state", "sleeper"], "--rootless=true is not supported"),
        (["exec", "--process-label", "x", "sleeper", "true"], "SELinux"),
    ],
)
def test_errors_are_worded_as_callers_look_for_them(
    runc: Runc, sleeper: str, arguments: list[str], words: str
) -> None:
    log = runc.base / "errors.log"
    log.unlink(missing_ok=True)
    done = runc("--log", str(log), "--log-format", "json", *arguments, check=False)
    assert (done.returncode, words in done.stderr) == (1, True), done.stderr
    line = json.loads(log.read_text())
    assert (line["level"], words in line["msg"]) == ("error", True)


def test_without_a_log_file_json_goes_to_stderr(runc: Runc) -> None:
    done = runc("--log-format", "json", "state", "nobody", check=False)
    assert "does not exist" in json.loads(done.stderr)["msg"]


def test_an_ended_container_is_not_running(runc: Runc) -> None:
    runc.create("ended", "true")
    runc("start", "ended")
    runc.until_stopped("ended")
    for arguments in (["kill", "ended"], ["pause", "ended"], ["update", "--pids-limit", "5", "ended"]):
        assert "container not running" in runc(*arguments, check=False).stderr
    assert "stopped container" in runc("exec", "ended", "true", check=False).stderr
    assert "has stopped" in runc("start", "ended", check=False).stderr
    again = runc("create", "-b", str(runc.base / "ended"), "ended", check=False)
    assert "container with given ID already exists" in again.stderr
    runc("delete", "ended")


def test_what_is_changed_in_the_bundle_after_create_has_no_effect(runc: Runc) -> None:
    document = config("sh", "-c", "echo $A", env=["A=before", "PATH=/bin"])
    document["hooks"] = {"poststop": [{"path": "/bin/touch", "args": ["touch", str(runc.base / "before")]}]}
    bundle = runc.bundle("fixed", document)
    with (runc.base / "fixed.out").open("w") as out:
        runc("create", "-b", str(bundle), "fixed", stdout=out, stderr=out)
    (bundle / "config.json").write_text("not even JSON")
    runc("start", "fixed")
    runc.until_stopped("fixed")
    runc("delete", "fixed")
    assert (runc.base / "fixed.out").read_text() == "before\n"
    assert (runc.base / "before").exists()


def test_descriptors_are_passed_on_when_asked_and_no_others(runc: Runc) -> None:
    bundle = runc.bundle("fds", config("sh", "-c", "ls /proc/self/fd; echo said >&4"))
    said = runc.base / "said"
    command = [sys.executable, "-m", "wherryd.runtime.cli", "--root", str(runc.base / "root"), "run"]
    script = f'exec "$@" 3</dev/null 4>{said} 5</dev/null 6</dev/null'
    done = subprocess.run(
        ["sh", "-c", script, "-", *command, "-b", str(bundle), "--preserve-fds", "2", "fds"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, timeout=60, check=True,
    )  # fmt: skip
    # 5 is what ls itself reads the directory by.
    assert done.stdout.split() == ["0", "1", "2", "3", "4", "5"]
    assert said.read_text() == "said\n"


def test_descriptors_that_are_not_open_are_refused(runc: Runc) -> None:
    bundle = runc.bundle("nofds", config("true"))
    done = runc("run", "-b", str(bundle), "--preserve-fds", "20", "nofds", check=False)
    assert "is not open" in done.stderr
    assert "nofds" not in runc("list", "-q").stdout


def test_a_root_without_pivot_is_the_only_thing_seen(runc: Runc) -> None:
    script = "ls /; grep -c ' / / ' /proc/self/mountinfo; ls /proc/1/root/; pwd"
    out = _run(runc, "nopivot", config("sh", "-c", script), "--no-pivot")
    assert "rootfs" not in out
    assert out.split()[0] == "bin"
    assert "boot" not in out.split()


def _alone(runc: Runc, script: str, *arguments: str) -> str:
    """A script in a mount namespace of its own: $runc is the command. What it said."""
    runc_ = f"{sys.executable} -m wherryd.runtime.cli --root {runc.base}/root"
    done = subprocess.run(
        ["unshare", "-m", "sh", "-ec", f'runc="{runc_}"\n{script}', "-", *arguments],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout


def test_a_container_in_the_callers_mount_namespace_leaves_no_mount(runc: Runc) -> None:
    document = config("sleep", "1000")
    document["linux"]["namespaces"] = _without(document, "mount")
    bundle = runc.bundle("hostmounts", document)
    script = """
        $runc run -d -b $1 --pid-file $1/pid hostmounts >/dev/null 2>&1
        test $(readlink /proc/$(cat $1/pid)/ns/mnt) = $(readlink /proc/self/ns/mnt) && echo the same
        grep -c $2/rootfs/proc /proc/self/mountinfo
        $runc exec hostmounts sh -c 'ls /; grep extra /etc/group'
        $runc delete --force hostmounts
        grep -c $2/rootfs /proc/self/mountinfo || true
    """
    seen = _alone(runc, script, str(bundle), str(runc.base)).split("\n")
    assert seen[0] == "the same"
    assert int(seen[1]) > 0
    assert ("extra:x:200:my" in seen, "boot" in seen) == (True, False)
    assert seen[-2] == "0"


def test_a_mount_namespace_is_joined_by_path(runc: Runc) -> None:
    document = config("sh", "-c", "readlink /proc/self/ns/mnt; ls /")
    document["linux"]["namespaces"] = [
        *_without(document, "mount"),
        {"type": "mount", "path": str(runc.base / "joined-ns")},
    ]
    bundle = runc.bundle("joinedmounts", document)
    script = """
        unshare -m sh -c 'echo up; exec sleep 1000' >$1/up & pid=$!
        while ! grep -q up $1/up; do :; done
        ln -s /proc/$pid/ns/mnt $2/joined-ns
        readlink /proc/$pid/ns/mnt
        $runc run -b $1 joinedmounts || true
        kill $pid
    """
    seen = _alone(runc, script, str(bundle), str(runc.base)).split("\n")
    assert seen[0] == seen[1]
    assert ("bin" in seen, "boot" in seen) == (True, False)


def test_namespaces_are_joined_by_path(runc: Runc, sleeper: str) -> None:
    pid = json.loads(runc("state", sleeper).stdout)["pid"]
    document = config(
        "sh", "-c", "for n in ipc net uts pid mnt cgroup; do readlink /proc/self/ns/$n; done; ls /"
    )
    names = {"ipc": "ipc", "network": "net", "uts": "uts", "pid": "pid", "mount": "mnt", "cgroup": "cgroup"}
    document["linux"]["namespaces"] = [
        {"type": kind, "path": f"/proc/{pid}/ns/{name}"} for kind, name in names.items()
    ]
    # The other's root is busy, and has no folder of this machine: what is joined must have the same paths.
    document["linux"]["namespaces"] = [
        each for each in document["linux"]["namespaces"] if each["type"] != "mount"
    ] + [{"type": "mount"}]
    del document["hostname"]
    found = _run(runc, "joiner", document).split()
    expected = [str(Path(f"/proc/{pid}/ns/{name}").readlink()) for name in ("ipc", "net", "uts", "pid")]
    assert found[:4] == expected
    assert found[4] != str(Path(f"/proc/{pid}/ns/mnt").readlink())
    assert found[5] == str(Path(f"/proc/{pid}/ns/cgroup").readlink())


def test_a_time_namespace_has_its_offsets(runc: Runc) -> None:
    document = config("cat", "/proc/uptime")
    document["linux"]["namespaces"].append({"type": "time"})
    document["linux"]["timeOffsets"] = {"boottime": {"secs": 1_000_000}, "monotonic": {"secs": 5}}
    assert float(_run(runc, "later", document).split()[0]) > 1_000_000


def test_nodes_of_the_config_can_be_made_under_its_own_rules(runc: Runc) -> None:
    document = config("sh", "-c", "ls -l /dev/fuse2; cat /dev/fuse2")
    document["linux"]["devices"] = [
        {"path": "/dev/fuse2", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 5, "gid": 6}
    ]
    document["linux"]["resources"]["devices"] = [{"allow": False, "access": "rwm"}]
    bundle = runc.bundle("nodes", document)
    done = runc("run", "-b", str(bundle), "nodes", check=False)
    assert done.stdout.split()[:6] == ["crw-r-----", "1", "5", "6", "10,", "229"]
    assert "Operation not permitted" in done.stderr


def test_scheduling_is_put_into_force(runc: Runc) -> None:
    document = config("sh", "-c", "cat /proc/self/stat; uname -m")
    document["process"] |= {
        "scheduler": {"policy": "SCHED_BATCH", "nice": 7},
        "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 6},
    }
    document["linux"]["personality"] = {"domain": "LINUX32"}
    words = _run(runc, "nice", document).split()
    assert (words[18], words[40]) == ("7", "3")
    assert words[-1] == {"x86_64": "i686", "aarch64": "armv8l"}[os.uname().machine]


def test_exec_runs_on_the_cpus_it_is_given(runc: Runc, sleeper: str) -> None:
    last = max(os.sched_getaffinity(0))
    process = config("grep", "Cpus_allowed_list", "/proc/self/status")["process"]
    process["execCPUAffinity"] = {"initial": str(last), "final": str(last)}
    file = runc.base / "process.json"
    file.write_text(json.dumps(process))
    assert runc("exec", "--process", str(file), sleeper).stdout.split()[-1] == str(last)


def test_what_runc_has_and_we_have_not_is_refused_by_name(runc: Runc) -> None:
    for arguments in (
        ("exec", "--cgroup", "sub", "any", "true"),
        ("update", "--l3-cache-schema", "L3:0=f", "any"),
        ("update", "--mem-bw-schema", "MB:0=20", "any"),
    ):
        done = runc(*arguments, check=False)
        assert done.returncode == 1
        assert f"{arguments[1]}: " in done.stderr


def test_a_profile_without_apparmor_is_an_error(runc: Runc) -> None:
    if Path("/sys/module/apparmor/parameters/enabled").exists():
        pytest.skip("this kernel has AppArmor")
    document = config("true", apparmorProfile="docker-default")
    bundle = runc.bundle("profile", document)
    done = runc("run", "-b", str(bundle), "profile", check=False)
    assert "AppArmor is not enabled" in done.stderr
    assert runc("list", "-q").stdout.split().count("profile") == 0


def test_labels_without_selinux_are_warned_about(runc: Runc) -> None:
    if Path("/sys/fs/selinux/enforce").exists():
        pytest.skip("this kernel has SELinux")
    document = config("true", selinuxLabel="system_u:system_r:container_t:s0")
    document["linux"]["mountLabel"] = "system_u:object_r:container_file_t:s0"
    bundle = runc.bundle("labels", document)
    log = runc.base / "labels.log"
    runc("--log", str(log), "--log-format", "json", "run", "-b", str(bundle), "labels")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["level"] for line in lines] == ["warning", "warning"]
    assert "linux.mountLabel" in lines[0]["msg"]
    assert "process.selinuxLabel" in lines[1]["msg"]


def test_a_tmpfs_begins_with_what_it_covers(runc: Runc) -> None:
    document = config(
        "sh", "-c", "cat /etc/group; ls -ld /bin/sh /etc/passwd; echo x > /etc/new; ls /etc; mount"
    )
    document["mounts"].append(
        {"destination": "/etc", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup", "ro"]}
    )
    before = sorted(each.name for each in (runc.base / "rootfs/etc").iterdir())
    out = _run(runc, "copyup", document, check=False)
    assert "extra:x:200:my" in out
    assert "tmpfs on /etc type tmpfs (ro" in out
    assert sorted(each.name for each in (runc.base / "rootfs/etc").iterdir()) == before


@pytest.mark.parametrize(("word", "seen"), [("rshared", True), ("rslave", False)])
def test_mounts_below_a_shared_bind_are_seen_outside(runc: Runc, word: str, seen: bool) -> None:
    """In a mount namespace of the test's own, whose mounts are shared as those of a host with systemd."""
    base = runc.base / f"bind-{word}"
    base.mkdir()
    document = config("sh", "-c", "mkdir -p /vol/in && mount -t tmpfs x /vol/in && echo mounted && sleep 2")
    document["process"]["capabilities"] = {
        kind: ["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"] for kind in ("bounding", "effective", "permitted")
    }
    document["mounts"].append(
        {"destination": "/vol", "type": "bind", "source": str(base), "options": ["rbind", word]}
    )
    document["linux"]["rootfsPropagation"] = word
    bundle = runc.bundle(f"shared-{word}", document)
    script = (
        'mount --make-rshared /; "$@" >/dev/null & for i in $(seq 1 300); do '
        f"grep -q {base}/in /proc/self/mountinfo && echo seen && break; "
        "kill -0 $! 2>/dev/null || break; sleep 0.05; done; kill $!; wait"
    )
    command = [sys.executable, "-m", "wherryd.runtime.cli", "--root", str(runc.base / "root")]
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "-", *command, "run", "-b", str(bundle), f"shared-{word}"],
        stdout=subprocess.PIPE, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ("seen" in done.stdout) is seen


def test_the_root_can_be_shared_or_unbindable(runc: Runc) -> None:
    for word, tag in (("rshared", "shared:"), ("unbindable", "unbindable"), ("private", " - ")):
        document = config("grep", " / / ", "/proc/self/mountinfo")
        document["process"]["args"] = ["sh", "-c", "grep ' / ' /proc/self/mountinfo | head -1"]
        document["linux"]["rootfsPropagation"] = word
        assert tag in _run(runc, f"root-{word}", document)


def test_update_of_a_v1_controller_that_is_not_there_is_told(runc: Runc, sleeper: str) -> None:
    if layout().version != 1 or "hugetlb" in layout().mounts:
        pytest.skip("hugetlb can be set here")
    document = {"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]}
    done = runc("update", "-r", "-", sleeper, check=False, stdin=None, input=json.dumps(document))
    assert "hugetlb cgroup controller" in done.stderr


def test_pause_holds_exec_back(runc: Runc, sleeper: str) -> None:
    runc("pause", sleeper)
    try:
        assert "already paused" in runc("pause", sleeper, check=False).stderr
        assert "paused container" in runc("exec", sleeper, "true", check=False).stderr
    finally:
        runc("resume", sleeper)
    assert runc("exec", sleeper, "echo", "on").stdout == "on\n"
