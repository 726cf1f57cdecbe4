"""Full disks, killed engines, other machines: a build ends with a clear word, and leaves nothing."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from builder_rig import MTIME, build, built, context
from native_engine import NativeEngine
from test_builder_cache import start_build

from wherryd.daemon.audit import audit

pytestmark = pytest.mark.root

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
RUN date +%s > /dev/null; touch /new /srv/deep/new
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


def test_another_machine_makes_the_same_image(fresh_engine: NativeEngine, engine: NativeEngine) -> None:
    """Other data root, storage driver and umask; another time of the build; and by our own client, too."""
    fresh_engine.stop()
    fresh_engine.options = ("--storage-driver", "vfs")
    fresh_engine.data_root = fresh_engine.folder / "other"
    before = os.umask(0o077)
    try:
        fresh_engine.start()
    finally:
        os.umask(before)
    archive = _same_base(engine)
    assert fresh_engine.call("POST", "/images/load", archive).status == 200
    query = {"buildargs": '{"SOURCE_DATE_EPOCH": "1500000000"}', "nocache": "1"}
    ours = built(engine, CONTEXT, **query).image
    assert built(fresh_engine, CONTEXT, **query).image == ours


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
