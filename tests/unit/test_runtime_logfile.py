"""The json-file log: Docker's shape, long lines in parts, rotation without loss."""

import gzip
import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from wherryd import clock
from wherryd.runtime.logfile import MAX_LINE_BYTES, JsonFileLog, LineSplitter


def test_a_line_waits_for_its_newline() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b"a") == []
    assert splitter.feed(b"b\nc") == [b"ab\n"]
    assert splitter.finish() == [b"c"]
    assert splitter.finish() == []


def test_a_line_of_16_kib_is_whole_and_a_longer_one_is_split() -> None:
    whole = b"x" * MAX_LINE_BYTES + b"\n"
    assert LineSplitter().feed(whole) == [whole]
    assert LineSplitter().feed(b"y" + whole) == [b"y" + whole[: MAX_LINE_BYTES - 1], b"x\n"]


def test_a_part_never_tears_a_character() -> None:
    line = ("x" + "ü" * MAX_LINE_BYTES).encode() + b"\n"
    parts = LineSplitter().feed(line)
    assert b"".join(parts) == line
    for part in parts:
        part.decode()


@given(st.binary(max_size=60_000), st.lists(st.integers(1, 30_000), max_size=8))
def test_nothing_is_lost_however_it_arrives(data: bytes, cuts: list[int]) -> None:
    splitter, found, at = LineSplitter(), b"", 0
    for cut in [*cuts, len(data)]:
        for part in splitter.feed(data[at : at + cut]):
            assert len(part) <= MAX_LINE_BYTES + 1
            found += part
        at += cut
    found += b"".join(splitter.feed(data[at:]) + splitter.finish())
    assert found == data


def test_records_have_log_stream_and_time(tmp_path: Path) -> None:
    log = JsonFileLog(tmp_path / "log", max_bytes=None, max_files=1)
    log.write("stdout", 'a "ü" \x01\n'.encode())
    log.write("stderr", b"\xff\n")
    log.finish("stdout")
    log.close()
    log.close()
    records = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [each["log"] for each in records] == ['a "ü" \x01\n', "\ufffd\n"]
    assert [each["stream"] for each in records] == ["stdout", "stderr"]
    assert all(each["time"].endswith("Z") and len(each["time"]) == 30 for each in records)


def test_a_log_is_continued_after_a_restart(tmp_path: Path) -> None:
    for word in (b"one\n", b"two\n"):
        log = JsonFileLog(tmp_path / "log", max_bytes=None, max_files=1)
        log.write("stdout", word)
        log.close()
    assert len((tmp_path / "log").read_text().splitlines()) == 2


def test_rotation_keeps_the_newest_files_below_the_limit(tmp_path: Path) -> None:
    log = JsonFileLog(tmp_path / "log", max_bytes=1000, max_files=3)
    for number in range(100):
        log.write("stdout", f"line {number}\n".encode())
    log.close()
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"log", "log.1", "log.2"}
    assert all(path.stat().st_size <= 1000 for path in tmp_path.iterdir())
    assert "line 99" in (tmp_path / "log").read_text()


def test_one_file_is_begun_anew_at_the_limit(tmp_path: Path) -> None:
    log = JsonFileLog(tmp_path / "log", max_bytes=300, max_files=1)
    for number in range(20):
        log.write("stdout", f"line {number}\n".encode())
    log.close()
    assert [path.name for path in tmp_path.iterdir()] == ["log"]
    assert (tmp_path / "log").stat().st_size <= 300


def test_timestamps_have_nine_digits() -> None:
    assert clock.from_nanoseconds(1_700_000_000_123_456_789) == "2023-11-14T22:13:20.123456789Z"
    assert clock.from_nanoseconds(1_700_000_000_000_000_000) == "2023-11-14T22:13:20.000000000Z"


def test_rotated_files_are_packed_and_keep_their_order(tmp_path: Path) -> None:
    log = JsonFileLog(tmp_path / "log", max_bytes=1000, max_files=4, compress=True)
    for number in range(200):
        log.write("stdout", b"line %d\n" % number)
    log.close()
    log.finish_work()
    assert {path.name for path in tmp_path.iterdir()} == {"log", "log.1.gz", "log.2.gz", "log.3.gz"}
    found = b"".join(gzip.decompress((tmp_path / f"log.{number}.gz").read_bytes()) for number in (3, 2, 1))
    lines = [json.loads(line)["log"] for line in (found + (tmp_path / "log").read_bytes()).splitlines()]
    assert lines == [f"line {number}\n" for number in range(200 - len(lines), 200)]
    assert len(lines) > 30


def test_attributes_stand_in_every_record(tmp_path: Path) -> None:
    log = JsonFileLog(tmp_path / "log", max_bytes=None, max_files=1, attributes={"a": 'b"c'})
    log.write("stderr", b"x\n")
    log.close()
    record = json.loads((tmp_path / "log").read_text())
    assert record["attrs"] == {"a": 'b"c'}
    assert list(record) == ["log", "stream", "attrs", "time"]
