"""Reading a log while it is rotated and packed: every line once, in order."""

import random
from pathlib import Path

import pytest

from wherryd.containers.logfiles import RotatedReader, listing
from wherryd.runtime.logfile import JsonFileLog, packing


def write(path: Path, first: int, count: int) -> None:
    with path.open("ab") as file:
        for number in range(first, first + count):
            file.write(b"%d\n" % number)


def pack(path: Path) -> None:
    for _ in packing(path):
        pass


def numbers(reader: RotatedReader) -> list[int]:
    return [int(line) for line in reader.lines()]


def rotated(tmp_path: Path) -> Path:
    """Nine lines in three files, the oldest packed."""
    path = tmp_path / "log"
    for name, first in (("log.2", 0), ("log.1", 3), ("log", 6)):
        write(tmp_path / name, first, 3)
    pack(tmp_path / "log.2")
    return path


@pytest.mark.parametrize("tail", [None, *range(12)])
def test_the_tail_is_found_in_packed_files_too(tmp_path: Path, tail: int | None) -> None:
    reader = RotatedReader(rotated(tmp_path), tail)
    assert numbers(reader) == list(range(9))[9 - min(9 if tail is None else tail, 9) :]
    reader.close()


def test_a_file_that_is_packed_while_it_is_read_is_not_read_twice(tmp_path: Path) -> None:
    path = tmp_path / "log"
    write(path, 0, 3)
    reader = RotatedReader(path, None)
    assert numbers(reader) == [0, 1, 2]
    write(path, 3, 2)
    path.rename(tmp_path / "log.1")
    write(path, 5, 2)
    pack(tmp_path / "log.1")
    (tmp_path / "log.1.gz").rename(tmp_path / "log.2.gz")
    path.rename(tmp_path / "log.1")
    write(path, 7, 1)
    pack(tmp_path / "log.1")
    assert numbers(reader) == [3, 4, 5, 6, 7]
    assert [each.path.name for each in listing(path)] == ["log.2.gz", "log.1.gz", "log"]
    reader.close()


def test_of_a_number_that_is_there_twice_the_packed_one_counts(tmp_path: Path) -> None:
    path = rotated(tmp_path)
    content = (tmp_path / "log.1").read_bytes()
    pack(tmp_path / "log.1")
    (tmp_path / "log.1").write_bytes(content)
    (tmp_path / "log.1.tmp").write_bytes(b"half")
    reader = RotatedReader(path, None)
    assert numbers(reader) == list(range(9))
    reader.close()


@pytest.mark.parametrize("seed", range(5))
def test_a_writer_that_rotates_and_packs_loses_nothing_of_a_reader_that_keeps_up(
    tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - not for secrets
    log = JsonFileLog(tmp_path / "log", max_bytes=2000, max_files=5, compress=True)
    reader = RotatedReader(tmp_path / "log", None)
    written, seen = 0, 0
    for _ in range(60):
        for _ in range(chance.randrange(25)):
            log.write("stdout", b"%d\n" % written)
            written += 1
        for _ in range(chance.randrange(3)):
            log.work()
        for line in reader.lines():
            assert f'"{seen}\\n"'.encode() in line
            seen += 1
    assert seen == written
    log.close()
    reader.close()
    log.finish_work()
