"""`wherry network` and `wherry volume` on a native engine, beside docker's own client where there is one."""

import json
import os
import subprocess
import sys

import pytest
from native_engine import IMAGE, NativeEngine

pytestmark = pytest.mark.root

WHERRY = [sys.executable, "-c", "from wherry.cli.main import main; main()"]


def both(engine: NativeEngine, *arguments: str) -> str:
    """Wherry's output, which must be docker's, byte for byte, with the same exit status."""
    ours = wherry(engine, *arguments)
    theirs = engine.docker(*arguments)
    assert ours.stdout.decode() == theirs.stdout.decode()
    assert (ours.returncode != 0) == (theirs.returncode != 0)
    return ours.stdout.decode()


def wherry(engine: NativeEngine, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*WHERRY, *arguments],
        input=stdin,
        capture_output=True,
        env={**os.environ, "WHERRY_HOST": f"unix://{engine.socket}"},
        timeout=30,
        check=False,
    )


def ok(engine: NativeEngine, *arguments: str, stdin: bytes = b"") -> str:
    done = wherry(engine, *arguments, stdin=stdin)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().removesuffix("\n")


def failure(engine: NativeEngine, *arguments: str, stdin: bytes = b"") -> str:
    done = wherry(engine, *arguments, stdin=stdin)
    assert done.returncode != 0, done.stdout.decode()
    return done.stderr.decode().strip()


def test_a_network_from_create_to_rm(engine: NativeEngine) -> None:
    made = ok(
        engine, "network", "create", "--subnet", "10.249.0.0/16", "--ip-range", "10.249.3.0/24", "--gateway",
        "10.249.0.9", "--aux-address", "x=10.249.3.1", "--label", "a=b", "-o",
        "com.docker.network.driver.mtu=1400", "--internal", "own",
    )  # fmt: skip
    (found,) = json.loads(ok(engine, "network", "inspect", "own"))
    assert (found["Id"], found["Internal"], found["Labels"]) == (made, True, {"a": "b"})
    assert found["IPAM"]["Config"][0]["Gateway"] == "10.249.0.9"
    assert ok(engine, "network", "inspect", "-f", "{{.Driver}} {{.Name}}", "own") == "bridge own"
    ok(engine, "create", "--name", "box", IMAGE, "sleep", "600")
    ok(engine, "network", "connect", "--alias", "db", "--ip", "10.249.0.77", "own", "box")
    ok(engine, "start", "box")
    joined = engine.inspect("box")["NetworkSettings"]["Networks"]["own"]
    assert (joined["IPAddress"], joined["Aliases"]) == ("10.249.0.77", ["db"])
    assert "has active endpoints" in failure(engine, "network", "rm", "own")
    ok(engine, "network", "disconnect", "own", "box")
    assert ok(engine, "network", "rm", "own") == "own"
    assert failure(engine, "network", "rm", "own").endswith("network own not found")
    # As docker's: the name is printed, for it is not there any more.
    assert wherry(engine, "network", "rm", "-f", "own").returncode == 0


def test_listings_are_dockers_byte_for_byte(engine: NativeEngine, docker_cli: str) -> None:
    ok(engine, "network", "create", "--label", "a=b", "own10")
    ok(engine, "network", "create", "own9")
    ok(engine, "volume", "create", "--label", "a=b", "vol10")
    ok(engine, "volume", "create", "vol9")
    for options in (
        (),
        ("-q",),
        ("--no-trunc",),
        ("--format", "{{.Name}} {{.Internal}} {{.IPv6}} {{.Labels}}"),
        ("--format", 'table {{.Name}}\t{{.Label "a"}}'),
        ("--filter", "type=custom"),
        ("--filter", "label=a"),
    ):
        assert both(engine, "network", "ls", *options) or options
    for options in ((), ("-q",), ("--format", "{{.Name}} {{.Mountpoint}} {{.Labels}}"), ("-f", "label=a=b")):
        assert both(engine, "volume", "ls", *options)
    both(engine, "volume", "inspect", "vol9")
    both(engine, "network", "inspect", "own9", "none-such")
    ok(engine, "volume", "rm", "vol9", "vol10")


def test_prune_asks_first(engine: NativeEngine) -> None:
    ok(engine, "network", "create", "own")
    refused = wherry(engine, "network", "prune", stdin=b"n\n")
    assert refused.returncode == 0  # as docker: nothing was asked for that was not done
    assert (
        b"WARNING! This will remove all custom networks not used by at least one container." in refused.stdout
    )
    assert "Deleted Networks:\nown" in ok(engine, "network", "prune", stdin=b"y\n")
    assert ok(engine, "network", "prune", "-f") == ""


def test_a_volume_from_create_to_prune(engine: NativeEngine) -> None:
    assert ok(engine, "volume", "create", "vol") == "vol"
    assert len(ok(engine, "volume", "create")) == 64
    assert ok(engine, "volume", "inspect", "-f", "{{.Driver}}", "vol") == "local"
    assert ok(engine, "volume", "prune", "-f").startswith("Deleted Volumes:\n")
    assert ok(engine, "volume", "ls", "-q") == "vol"
    assert "Total reclaimed space: " in ok(engine, "volume", "prune", "-a", "-f")
    assert "no such volume" in failure(engine, "volume", "rm", "vol")
    assert 'missing required option: "device"' in failure(engine, "volume", "create", "-o", "type=nfs", "vol")
