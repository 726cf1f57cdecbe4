"""Full disks, killed engines, other machines: a build ends with a clear word, and leaves nothing."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import leaks
import pytest
from builder_rig import MTIME, build, built, context
from native_engine import NativeEngine
from test_builder_cache import PATIENCE, start_build

from wherryd.daemon.audit import audit

pytestmark = pytest.mark.root

BASE = "FROM busybox:test\n"
REPRODUCED = """FROM busybox:test AS one
RUN mkdir -p /a/b && echo one > /a/b/f && chmod 0711 /a && ln -s f /a/b/l && ln /a/b/f /a/b/h
FROM busybox:test
WORKDIR /srv/deep
COPY --chown=7:8 src dst
ADD --chmod=0640 src/f added
COPY <<END here
text
END
COPY --from=one /a /a
RUN date +%s > /dev/null; touch /new /srv/deep/new; (hostname; umask; id; env | sort; pwd) > /seen
VOLUME /data
CMD ["true"]
"""
CONTEXT = {"Dockerfile": REPRODUCED, "src/": "", "src/f": "file", "src/x": (0o755, "program")}


@pytest.fixture
def small_disk(fresh_engine: NativeEngine) -> Iterator[NativeEngine]:
    """An engine whose data root has 64 MB."""
    fresh_engine.stop()
    root = str(fresh_engine.data_root)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", root], check=True)
    try:
        fresh_engine.start()
        fresh_engine.import_busybox()
        yield fresh_engine
    finally:
        fresh_engine.stop()
        subprocess.run(["umount", "-l", root], check=True)


def test_a_full_disk_is_a_clear_error_and_the_next_build_works(small_disk: NativeEngine) -> None:
    base = "FROM busybox:test\n"
    large = os.urandom(45_000_000)
    filled = build(small_disk, {"Dockerfile": base + "RUN head -c 90000000 /dev/zero > /big\n"})
    assert "error" in filled.text.lower()  # what the program itself says of it
    assert filled.error["code"] == 1
    copied = build(small_disk, {"Dockerfile": base + "COPY f /f\n", "f": large})
    assert "No space left on device" in copied.error["message"], copied
    sent = build(small_disk, {"Dockerfile": base, "f": large, "g": large})
    assert sent.status >= 400
    assert "No space left on device" in sent.text
    # What the failed ones wrote is gone, without a restart.
    built(small_disk, {"Dockerfile": base + "COPY f /f\nRUN head -c 9000000 /dev/zero > /fits\n", "f": "x"})
    small_disk.stop()
    assert audit(small_disk.data_root).unowned == []
    small_disk.start()


def test_a_kill_while_files_are_copied_leaves_a_cache_and_no_garbage(fresh_engine: NativeEngine) -> None:
    data = {f"d/{each}": os.urandom(20_000) for each in range(1500)}
    file = "FROM busybox:test\nRUN echo first > /first\nCOPY d /d\nRUN sleep 1000\n"
    with start_build(fresh_engine, context({"Dockerfile": file, **data}), rb"COPY d /d"):
        fresh_engine.kill()
    fresh_engine.start()
    found = built(fresh_engine, {"Dockerfile": file.replace("sleep 1000", "true"), **data})
    assert "Using cache" in found.text.split("COPY d /d")[0]
    fresh_engine.call("POST", "/build/prune")
    fresh_engine.stop()
    report = audit(fresh_engine.data_root, verify=True)
    assert report.clean, (report.unowned, report.damaged)
    fresh_engine.start()


def _left(engine: NativeEngine) -> dict[str, object]:
    """What is there of builds, wherever they leave something."""
    now = leaks.take()
    return {
        "containers": [each["Id"] for each in engine.call("GET", "/containers/json", all="1").json],
        "images": sorted(each["Id"] for each in engine.call("GET", "/images/json", all="1").json),
        "cache": sorted(each["ID"] for each in engine.call("GET", "/system/df").json["BuildCache"]),
        "folders": [
            *(engine.data_root / "builder" / "builds").iterdir(),
            *(engine.exec_root / "builder").iterdir(),
        ],
        "bundles": sorted(path.name for path in engine.exec_root.glob("containers/*")),
        "blobs": sorted(path.name for path in (engine.data_root / "content").rglob("*") if path.is_file()),
        "snapshots": sorted(path.name for path in (engine.data_root / "overlay").glob("*/*")),
        "mounts": sorted(each for each in now.mounts if str(engine.folder) in each),
        "processes": sorted(
            each for each in now.processes if engine.name in each or _is_of_a_step(engine, each)
        ),
    }


def _is_of_a_step(engine: NativeEngine, process: str) -> bool:
    """Not the engine itself, nor the process that its containers come from."""
    return str(engine.folder) in process and "zygotestart" not in process


GONE = {
    "run": (f"{BASE}RUN echo started; sleep 1000\n", rb"started\n"),
    "stages": (f"{BASE[:-1]} AS a\nRUN echo started; sleep 1000\n{BASE[:-1]} AS b\nRUN sleep 1000\n"
               f"{BASE}COPY --from=a / /a\nCOPY --from=b / /b\n", rb"started\n"),
    "copy": (f"{BASE}COPY d /d\nRUN sleep 1000\n", rb"COPY d /d"),
    "mount": (f"{BASE}RUN --mount=target=/m,rw --mount=type=tmpfs,target=/t echo started; sleep 1000\n",
              rb"started\n"),
}  # fmt: skip


@pytest.mark.parametrize("moment", GONE)
def test_a_client_that_goes_away_leaves_nothing(fresh_engine: NativeEngine, moment: str) -> None:
    file, until = GONE[moment]
    before = _before(fresh_engine)
    data = {f"d/{each}": os.urandom(20_000) for each in range(500)}
    start_build(fresh_engine, context({"Dockerfile": file, **data}), until).close()
    _settles(fresh_engine, before)


def test_a_client_that_goes_away_while_it_sends_leaves_nothing(fresh_engine: NativeEngine) -> None:
    before = _before(fresh_engine)
    data = context({"Dockerfile": BASE, "f": os.urandom(3_000_000)})
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(fresh_engine.socket))
        connection.sendall(f"POST /build HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n".encode())
        connection.sendall(data[:2_000_000])
        deadline = time.monotonic() + PATIENCE
        while not _left(fresh_engine)["folders"]:
            assert time.monotonic() < deadline, "the build has not begun"
    _settles(fresh_engine, before)


def _before(engine: NativeEngine) -> dict[str, object]:
    """After a first build, which makes folders."""
    built(engine, {"Dockerfile": BASE + "RUN true\n"})
    engine.call("POST", "/build/prune")
    return _left(engine)


def _settles(engine: NativeEngine, before: dict[str, object]) -> None:
    """A step that was done before the client went is in the cache, and may be pruned."""
    deadline = time.monotonic() + PATIENCE
    while (left := _left(engine)) != before and time.monotonic() < deadline:
        engine.call("POST", "/build/prune")
        time.sleep(0.1)
    assert left == before
    engine.stop()
    report = audit(engine.data_root, verify=True)
    assert report.clean, (report.unowned, report.damaged)
    engine.start()


def test_another_machine_makes_the_same_image(fresh_engine: NativeEngine, engine: NativeEngine) -> None:
    """Other data root, storage driver, umask, host name, time zone, language and ids of users; and another
    time of the build."""
    fresh_engine.stop()
    fresh_engine.options = ("--storage-driver", "vfs", "--userns-remap", "host")
    fresh_engine.data_root = fresh_engine.folder / "other"
    elsewhere = 'umask 077; hostname elsewhere; TZ=Asia/Tokyo LANG=tr_TR.UTF-8 exec "$@"'
    fresh_engine.within = ("unshare", "--uts", "sh", "-c", elsewhere, "sh")
    fresh_engine.start()
    archive = _same_base(engine)
    assert fresh_engine.call("POST", "/images/load", archive).status == 200
    assert fresh_engine.call("GET", "/info").json["Name"] == "elsewhere"
    query = {"buildargs": '{"SOURCE_DATE_EPOCH": "1500000000"}', "nocache": "1"}
    ours = built(engine, CONTEXT, **query).image
    assert built(fresh_engine, CONTEXT, **query).image == ours
    # From the cache, and in another order of the context's files, too.
    backwards = dict(reversed(CONTEXT.items()))
    assert built(fresh_engine, backwards, buildargs=query["buildargs"]).image == ours
    assert built(fresh_engine, backwards, **query).image == ours


def test_our_client_makes_the_same_image_in_a_checkout_of_another_time(
    engine: NativeEngine, tmp_path: Path
) -> None:
    made = []
    for number in range(2):
        folder = tmp_path / str(number)
        (folder / "src").mkdir(parents=True)
        (folder / "Dockerfile").write_text(REPRODUCED)
        (folder / "src" / "f").write_text("file")
        (folder / "src" / "x").write_text("program")
        when = MTIME + 100_000 * number
        for path in (*folder.rglob("*"), folder):
            path.chmod(0o755)
            os.utime(path, (when, when))
        command = [
            sys.executable,
            "-c",
            "from wherry.cli.main import main; main()",
            "build",
            "-q",
            "--no-cache",
        ]
        done = subprocess.run(
            [*command, "--build-arg", "SOURCE_DATE_EPOCH=1500000000", str(folder)],
            capture_output=True,
            env={
                **os.environ,
                "WHERRY_HOST": f"unix://{engine.socket}",
                "WHERRY_HOME": str(tmp_path / "home"),
            },
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        made.append(done.stdout)
    assert made[0] == made[1]


def _same_base(engine: NativeEngine) -> bytes:
    """busybox:test of both engines is one image only when it came from one import."""
    answer = engine.call("GET", "/images/busybox:test/get")
    assert answer.status == 200
    return answer.body
