"""docker-py as a client: it branches on error texts, and reads streams its own way."""

import gc
import warnings
from collections.abc import Iterator
from typing import Any

import docker
import pytest
from docker_py_client import docker_py
from native_engine import IMAGE, NativeEngine, busybox_tar

pytestmark = [
    pytest.mark.root,
    # docker-py leaves the sockets of streams to the garbage collector, also after close().
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def client(engine: NativeEngine) -> Iterator[Any]:
    with docker_py(engine) as made:
        yield made


@pytest.fixture(scope="module", autouse=True)
def _collected() -> Iterator[None]:
    """What docker-py left is collected here, not in a test of another module, where it would be an error."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def test_version_and_ping(client: Any) -> None:
    assert client.ping() is True
    assert client.version()["ApiVersion"] == "1.51"
    assert client.info()["OSType"] == "linux"


def test_run_returns_the_output(client: Any) -> None:
    assert client.containers.run(IMAGE, ["echo", "hi"], remove=True) == b"hi\n"


def test_run_raises_with_status_and_stderr(client: Any) -> None:
    with pytest.raises(docker.errors.ContainerError) as caught:
        client.containers.run(IMAGE, ["sh", "-c", "echo bad >&2; exit 3"], remove=True)
    assert caught.value.exit_status == 3
    assert caught.value.stderr == b"bad\n"


def test_a_missing_container_and_image_have_their_own_errors(client: Any) -> None:
    with pytest.raises(docker.errors.NotFound, match="No such container: nobody"):
        client.containers.get("nobody")
    with pytest.raises(docker.errors.ImageNotFound):
        client.images.get("nobody/nothing:1")
    with pytest.raises(docker.errors.ImageNotFound):
        client.api.create_container("nobody/nothing:1", "true")


def test_the_life_of_a_container(client: Any) -> None:
    container = client.containers.run(IMAGE, ["sleep", "60"], name="py", detach=True, labels={"x": "y"})
    assert [each.name for each in client.containers.list(filters={"label": "x=y"})] == ["py"]
    container.pause()
    container.reload()
    assert container.status == "paused"
    container.unpause()
    container.rename("renamed")
    container.stop(timeout=0)
    assert container.wait()["StatusCode"] == 137
    container.start()
    container.restart(timeout=0)
    container.kill()
    container.remove()
    assert client.containers.list(all=True) == []


def test_exec_gives_code_and_separate_streams(client: Any) -> None:
    container = client.containers.run(IMAGE, ["sleep", "60"], detach=True)
    code, (out, err) = container.exec_run(["sh", "-c", "echo o; echo e >&2; exit 5"], demux=True)
    assert (code, out, err) == (5, b"o\n", b"e\n")
    code, output = container.exec_run("tty", tty=True, stdin=True)
    assert (code, output.strip()[:9]) == (0, b"/dev/pts/")


def test_an_attached_socket_carries_both_directions(client: Any) -> None:
    container = client.containers.create(IMAGE, ["cat"], stdin_open=True, tty=True)
    socket = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    container.start()
    raw = getattr(socket, "_sock", socket)
    raw.settimeout(10)
    raw.sendall(b"over\n")
    seen = b""
    while seen.count(b"over") < 2:
        seen += raw.recv(4096)
    socket.close()


def test_logs_stream_and_tail(client: Any) -> None:
    container = client.containers.run(
        IMAGE, ["sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.1; done"], detach=True
    )
    assert b"".join(container.logs(stream=True, follow=True)) == b"1\n2\n3\n"
    assert container.logs(tail=1) == b"3\n"
    assert container.logs(stdout=False, stderr=True) == b""


def test_stats_and_top(client: Any) -> None:
    container = client.containers.run(IMAGE, ["sleep", "60"], detach=True)
    sample = container.stats(stream=False)
    assert sample["cpu_stats"]["system_cpu_usage"] > sample["precpu_stats"]["system_cpu_usage"] > 0
    assert sample["memory_stats"]["stats"]
    assert container.top()["Processes"][0][-1] == "sleep 60"


def test_events_and_images(client: Any) -> None:
    events = client.events(decode=True)
    loaded = client.images.load(_saved(client))
    assert IMAGE in loaded[0].tags
    loaded[0].tag("other/name", tag="1")
    client.images.remove("other/name:1")
    seen = [next(events)["Action"] for _ in range(4)]
    events.close()
    assert seen == ["save", "load", "tag", "untag"]


def _saved(client: Any) -> bytes:
    return b"".join(client.images.get(IMAGE).save(named=True))


def test_import_from_memory(client: Any) -> None:
    client.api.import_image_from_data(
        busybox_tar([("etc/mark", b"here\n")]), repository="from/memory", tag="1"
    )
    try:
        assert client.containers.run("from/memory:1", ["cat", "/etc/mark"], remove=True) == b"here\n"
    finally:
        client.images.remove("from/memory:1")


def test_volumes(client: Any) -> None:
    volume = client.volumes.create("pyvolume", labels={"a": "b"})
    client.containers.run(
        IMAGE, ["touch", "/data/x"], volumes={"pyvolume": {"bind": "/data", "mode": "rw"}}, remove=True
    )
    assert client.volumes.list(filters={"label": "a=b"}) == [volume]
    volume.remove()


def test_what_is_missing_is_said_by_name(client: Any) -> None:
    with pytest.raises(docker.errors.APIError, match="no swarm mode") as caught:
        client.services.list()
    assert caught.value.status_code == 503
