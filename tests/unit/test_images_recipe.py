"""A recipe and a directory give the archive back, byte for byte."""

import io
import os
from pathlib import Path

import pytest

from wherryd.images.unpack.recipe import DamagedRecipe, RecipeWriter, replay


def contents(directory: Path):  # type: ignore[no-untyped-def]
    return lambda path: os.open(directory / os.fsdecode(path), os.O_RDONLY)


def write(directory: Path, steps) -> bytes:  # type: ignore[no-untyped-def]
    with (directory / "recipe").open("wb") as file:
        writer = RecipeWriter(file.fileno())
        steps(writer)
    return (directory / "recipe").read_bytes()


def test_raw_bytes_and_files_come_in_order(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"0123456789")

    def steps(writer: RecipeWriter) -> None:
        writer.raw(b"head")
        writer.file("a", 2, 5)
        writer.raw(b"tail")
        writer.finish()

    recipe = write(tmp_path, steps)
    assert b"".join(replay(io.BytesIO(recipe), contents(tmp_path))) == b"head23456tail"


def test_contents_that_were_replaced_come_from_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"second")

    def steps(writer: RecipeWriter) -> None:
        number = writer.file("a", 0, 5)
        old = io.BytesIO(b"first")
        writer.keep(number, 5, old.read)
        writer.file("a", 0, 6)
        writer.finish()

    recipe = write(tmp_path, steps)
    assert b"".join(replay(io.BytesIO(recipe), contents(tmp_path))) == b"firstsecond"


def test_much_raw_data_survives_the_buffers(tmp_path: Path) -> None:
    data = os.urandom(3_000_000)

    def steps(writer: RecipeWriter) -> None:
        for start in range(0, len(data), 70_000):
            writer.raw(data[start : start + 70_000])
        writer.finish()

    recipe = write(tmp_path, steps)
    assert b"".join(replay(io.BytesIO(recipe), contents(tmp_path))) == data


def test_recipe_without_its_end_is_refused(tmp_path: Path) -> None:
    def steps(writer: RecipeWriter) -> None:
        writer.raw(os.urandom(600_000))
        writer.finish()

    recipe = write(tmp_path, steps)
    with pytest.raises((DamagedRecipe, EOFError)):
        list(replay(io.BytesIO(recipe[: len(recipe) // 2]), contents(tmp_path)))


def test_file_that_became_shorter_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"012")

    def steps(writer: RecipeWriter) -> None:
        writer.file("a", 0, 5)
        writer.finish()

    recipe = write(tmp_path, steps)
    with pytest.raises(DamagedRecipe, match="shorter"):
        list(replay(io.BytesIO(recipe), contents(tmp_path)))
