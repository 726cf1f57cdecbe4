"""`-p` in every form that docker's command has, on a native engine."""

import errno
import socket

import pytest
from native_engine import IMAGE, NativeEngine
from networks_rig import free_port

pytestmark = pytest.mark.root


def free_ports(count: int) -> int:
    """The first of so many that are free in a row, for TCP and UDP."""
    for _ in range(200):
        first = free_port()
        if first + count < 65536 and all(_is_free(first + step) for step in range(count)):
            return first
    raise AssertionError("no free ports in a row")


def _is_free(port: int) -> bool:
    try:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(socket.AF_INET, kind) as probe:
                probe.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True


def published(engine: NativeEngine, *options: str) -> list[str]:
    """What `docker port` says of a container with these options."""
    started = engine.docker("run", "-d", "--name", "web", *options, IMAGE, "sleep", "600")
    assert started.returncode == 0, started.stderr.decode()
    lines = engine.docker("port", "web").stdout.decode().splitlines()
    assert engine.docker("rm", "-f", "web").returncode == 0
    return lines


def both(inner: str, port: int) -> list[str]:
    return [f"{inner} -> 0.0.0.0:{port}", f"{inner} -> [::]:{port}"]


def test_a_port_may_be_given_with_and_without_address_and_protocol(
    engine: NativeEngine, docker_cli: str
) -> None:
    port = free_ports(1)
    assert published(engine, "-p", f"{port}:80") == both("80/tcp", port)
    assert published(engine, "-p", f"127.0.0.1:{port}:80") == [f"80/tcp -> 127.0.0.1:{port}"]
    assert published(engine, "-p", f"[::1]:{port}:80") == [f"80/tcp -> [::1]:{port}"]
    assert published(engine, "-p", f"{port}:53/udp") == both("53/udp", port)
    one_number = published(engine, "-p", f"{port}:53/udp", "-p", f"{port}:53/tcp")
    assert sorted(one_number) == sorted([*both("53/udp", port), *both("53/tcp", port)])


def test_ranges_go_port_by_port_or_give_their_first_free_one(engine: NativeEngine, docker_cli: str) -> None:
    port = free_ports(3)
    assert sorted(published(engine, "-p", f"{port}-{port + 1}:80-81")) == [
        *both("80/tcp", port),
        *both("81/tcp", port + 1),
    ]
    with socket.create_server(("127.0.0.1", port)):
        assert published(engine, "-p", f"127.0.0.1:{port}-{port + 2}:80") == [
            f"80/tcp -> 127.0.0.1:{port + 1}"
        ]


@pytest.mark.parametrize("form", ["80", "127.0.0.1::80"])
def test_a_port_left_to_the_engine_is_a_free_one(engine: NativeEngine, docker_cli: str, form: str) -> None:
    lines = published(engine, "-p", form)
    ports = {int(line.rpartition(":")[2]) for line in lines}
    assert len(ports) == 1
    assert _is_free(ports.pop()), "and free again at once"


def test_all_exposed_ports_are_published_at_random_ones(engine: NativeEngine, docker_cli: str) -> None:
    lines = published(engine, "-P", "--expose", "80", "--expose", "53/udp", "--expose", "90-91")
    assert {line.partition(" ")[0] for line in lines} == {"80/tcp", "53/udp", "90/tcp", "91/tcp"}
    assert len({line.rpartition(":")[2] for line in lines}) == 4
    assert published(engine, "--expose", "80") == []


def test_a_taken_port_of_another_program_is_told_and_the_container_can_start_later(
    engine: NativeEngine, docker_cli: str
) -> None:
    with socket.create_server(("0.0.0.0", 0)) as other:  # noqa: S104
        port = other.getsockname()[1]
        engine.docker("create", "--name", "web", "-p", f"{port}:80", IMAGE, "sleep", "600")
        said = engine.docker("start", "web").stderr.decode()
        assert f"0.0.0.0:{port}" in said
        assert "address already in use" in said
    assert engine.docker("start", "web").returncode == 0


def test_sctp_is_published_where_the_kernel_has_it_and_refused_by_name_elsewhere(
    engine: NativeEngine, docker_cli: str
) -> None:
    port = free_ports(1)
    if _kernel_has_sctp():
        assert published(engine, "-p", f"{port}:80/sctp") == both("80/sctp", port)
        return
    done = engine.docker("run", "--rm", "-p", f"{port}:80/sctp", IMAGE, "true")
    assert done.returncode != 0
    assert b"this kernel has no SCTP (hint: modprobe sctp)" in done.stderr


def _kernel_has_sctp() -> bool:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP).close()
    except OSError as error:
        return error.errno not in (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT)
    return True
