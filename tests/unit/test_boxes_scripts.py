"""The scripts that run in the guest, run here: with the system's own shell in place of busybox's."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wherrywire import serialline

LIB = Path(__file__).resolve().parents[2] / "boxes/rootfs/usr/lib/wherry"


def adapted(name: str, into: Path) -> Path:
    """A copy of the script whose `say` writes to standard output, and that may run anywhere."""
    say = into / "say.sh"
    say.write_text("say() { printf 'wherry: %s\\n' \"$1\"; }\n")
    script = into / name
    script.write_text((LIB / name).read_text().replace("/usr/lib/wherry/say.sh", str(say)))
    return script


def run(script: Path, *arguments: str | Path, status: int = 0, **environment: str) -> str:
    done = subprocess.run(
        ["sh", script, *arguments],
        capture_output=True,
        text=True,
        timeout=20,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **environment},
        check=False,
    )
    assert done.returncode == status, done.stderr
    return done.stdout


def test_ready_line_is_what_the_encoder_writes_and_the_parser_reads(tmp_path: Path) -> None:
    (tmp_path / "version").write_text("0.1.0\n")
    (tmp_path / "key").write_text("SHA256:" + "a" * 43 + "\n")
    line = run(adapted("ready", tmp_path), tmp_path / "version", tmp_path / "key").rstrip("\n")
    event = serialline.Ready(version="0.1.0", host_key="SHA256:" + "a" * 43)
    assert line == serialline.encode(event)
    assert serialline.parse(line) == event


def test_booted_line_of_the_initramfs_is_what_the_encoder_writes() -> None:
    init = (LIB.parents[3] / "initramfs/init").read_text()
    word = serialline.encode(serialline.Booted()).removeprefix(serialline.PREFIX)
    assert f"\nsay {word}\n" in init
    assert f'echo "{serialline.PREFIX}$1" >/dev/ttyS0' in init


@pytest.mark.parametrize(
    ("there", "ahead"),
    [(0.0, 0.0), (0.05, -0.05), (-0.05, 0.05), (0.0999, -0.0999)],
)
def test_clock_within_a_tenth_of_a_second_is_left_and_its_offset_told(
    tmp_path: Path, there: float, ahead: float
) -> None:
    stub = tmp_path / "date"
    stub.write_text(
        '#!/bin/sh\ncase $1 in +*) echo 1700000000000000000 ;; *) echo "set $*" >&2; exit 9 ;; esac\n'
    )
    stub.chmod(0o755)
    printed = run(LIB / "clock", f"{1700000000 + there:.6f}", PATH=f"{tmp_path}:/usr/bin:/bin")
    assert float(printed) == pytest.approx(ahead, abs=1e-6)


@pytest.mark.parametrize("there", ["1700000000.5", "1700000100", "1699999000.25"])
def test_clock_further_off_is_set_to_the_hosts_time(tmp_path: Path, there: str) -> None:
    stub = tmp_path / "date"
    stub.write_text(
        f'#!/bin/sh\ncase $1 in +*) echo 1700000000000000000 ;; *) echo "$*" >{tmp_path}/set ;; esac\n'
    )
    stub.chmod(0o755)
    printed = run(LIB / "clock", there, PATH=f"{tmp_path}:/usr/bin:/bin")
    assert (tmp_path / "set").read_text() == f"-s @{there}\n"
    assert float(printed) == pytest.approx(1700000000 - float(there), abs=1e-6)


@pytest.mark.parametrize("wrong", ["", "now", "1.2.3", "-5", ".5", "1; reboot"])
def test_clock_refuses_what_is_no_time(wrong: str) -> None:
    run(LIB / "clock", wrong, status=2)


def test_clock_reads_the_real_time_here(tmp_path: Path) -> None:
    assert abs(float(run(LIB / "clock", f"{time.time():.3f}"))) < 0.1


def test_host_key_is_made_once_and_its_fingerprint_is_the_keys(tmp_path: Path) -> None:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("no ssh-keygen here")
    run(LIB / "host-key", tmp_path)
    public = (tmp_path / "ssh_host_ed25519_key.pub").read_text()
    fingerprint = (tmp_path / "wherry-fingerprint").read_text()
    listed = subprocess.run(
        ["ssh-keygen", "-l", "-f", tmp_path / "ssh_host_ed25519_key.pub"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert fingerprint.strip() == listed.split()[1]
    run(LIB / "host-key", tmp_path)
    assert (tmp_path / "ssh_host_ed25519_key.pub").read_text() == public


def test_host_key_without_its_fingerprint_was_cut_off_and_is_made_anew(tmp_path: Path) -> None:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("no ssh-keygen here")
    for name in ("ssh_host_ed25519_key", "ssh_host_ed25519_key.pub"):
        (tmp_path / name).write_text("half a k")
    run(LIB / "host-key", tmp_path)
    assert (tmp_path / "ssh_host_ed25519_key.pub").read_text().startswith("ssh-ed25519 ")


def test_name_servers_of_the_lease_reach_resolv_conf(tmp_path: Path) -> None:
    script = adapted("network", tmp_path)
    (tmp_path / "ip").write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/calls\n')
    (tmp_path / "ip").chmod(0o755)
    lease = {
        "interface": "eth0",
        "ip": "10.0.2.15",
        "mask": "24",
        "router": "10.0.2.2 10.0.2.9",
        "dns": "10.0.2.3 192.0.2.1",
        "domain": "lan",
    }
    target = tmp_path / "resolv.conf"
    run(script, "bound", **lease, WHERRY_RESOLV_CONF=str(target), PATH=f"{tmp_path}:/usr/bin:/bin")
    assert target.read_text() == "search lan\nnameserver 10.0.2.3\nnameserver 192.0.2.1\n"
    lease["search"] = "corp.example lan"
    run(script, "renew", **lease, WHERRY_RESOLV_CONF=str(target), PATH=f"{tmp_path}:/usr/bin:/bin")
    assert target.read_text().startswith("search corp.example lan\nnameserver 10.0.2.3\n")
    assert (tmp_path / "calls").read_text() == (
        "address replace 10.0.2.15/24 dev eth0\nroute replace default via 10.0.2.2 dev eth0\n"
    ) * 2


def seed_files(tmp_path: Path, seed: dict[str, object]) -> tuple[str, dict[str, Path]]:
    """apply-seed with its paths below tmp_path."""
    text = (LIB / "apply-seed").read_text()
    places = {}
    for path in ("/run/wherry-seed/seed.json", "/etc/wherry-proxy.env", "/etc/hostname", "/etc/hosts"):
        places[path] = tmp_path / path.rsplit("/", 1)[1]
        text = text.replace(f'"{path}"', f'"{places[path]}"')
    places["kernel"] = tmp_path / "kernel"
    text = text.replace('"/proc/sys/kernel/hostname"', f'"{places["kernel"]}"')
    places["/run/wherry-seed/seed.json"].write_text(json.dumps(seed))
    return text, places


def apply(text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-IS", "-c", text], capture_output=True, text=True, timeout=20, check=False
    )


def test_seed_names_the_machine_and_hands_over_proxies(tmp_path: Path) -> None:
    text, places = seed_files(
        tmp_path,
        {
            "schema": 1,
            "name": "default",
            "hostname": "wherry-default",
            "proxy": {"http": 'http://a"b:3128', "no": "x"},
        },
    )
    assert apply(text).returncode == 0
    assert places["kernel"].read_text() == "wherry-default"
    assert places["/etc/hostname"].read_text() == "wherry-default\n"
    assert "127.0.1.1\twherry-default\n" in places["/etc/hosts"].read_text()
    assert places["/etc/wherry-proxy.env"].read_text() == (
        'http_proxy="http://a\\"b:3128"\nHTTP_PROXY="http://a\\"b:3128"\nno_proxy="x"\nNO_PROXY="x"\n'
    )


@pytest.mark.parametrize("seed", [{"schema": 2, "name": "a"}, {"schema": 1, "name": "a b"}])
def test_seed_of_another_schema_or_with_a_wrong_name_is_refused(
    tmp_path: Path, seed: dict[str, object]
) -> None:
    text, places = seed_files(tmp_path, seed)
    assert apply(text).returncode != 0
    assert not places["/etc/hostname"].exists()


def test_launchers_differ_only_in_what_they_start() -> None:
    folder = LIB.parents[1] / "bin"
    engine, runtime = (folder / "wherryd").read_text(), (folder / "wherry-runc").read_text()
    assert "from wherryd.daemon.main import main" in engine
    assert "from wherryd.runtime.cli import main" in runtime
    tail = "sys.exit(main())\n"
    assert engine.endswith(tail)
    assert runtime.endswith(tail)
