"""A folder as a build context: what is sent, and what stays at home."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from wherry.engine.buildcontext import BuildContext, ChunkReader, scan
from wherry.engine.contextarchive import chunks, is_archive, only_dockerfile
from wherry.errors import UsageProblem


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "context"
    (root / "docs").mkdir(parents=True)
    (root / "Dockerfile").write_text("FROM x\n")
    (root / "docs" / "a.md").write_text("a")
    (root / "docs" / "keep.md").write_text("keep")
    (root / "main.o").write_bytes(b"\0" * 3000)
    return root


def members(context: BuildContext) -> dict[str, tarfile.TarInfo]:
    data = b"".join(chunks(context))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {member.name: member for member in archive}


def test_everything_is_sent_without_owners(folder: Path) -> None:
    context = scan(folder, None)
    found = members(context)
    assert list(found) == ["Dockerfile", "docs", "docs/a.md", "docs/keep.md", "main.o"]
    assert {(each.uid, each.gid, each.uname) for each in found.values()} == {(0, 0, "")}
    assert context.size_bytes == 3000 + 7 + 1 + 4


def test_ignored_files_stay_and_the_dockerfile_goes(folder: Path) -> None:
    (folder / ".dockerignore").write_text("*\n!docs/keep.md\n")
    assert list(members(scan(folder, None))) == [".dockerignore", "Dockerfile", "docs/keep.md"]


def test_the_dockerfiles_own_ignore_file_comes_first(folder: Path) -> None:
    (folder / ".dockerignore").write_text("docs\n")
    (folder / "Dockerfile.dockerignore").write_text("*.o\n")
    found = members(scan(folder, None))
    assert "docs/a.md" in found
    assert "main.o" not in found


def test_a_dockerfile_from_elsewhere_gets_a_name_that_copy_does_not_see(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "Other"
    other.write_text("FROM y\n")
    context = scan(folder, other)
    found = members(context)
    assert context.dockerfile.startswith(".dockerfile.")
    assert context.dockerfile in found
    assert context.extra[".dockerignore"].decode() == f"{context.dockerfile}\n.dockerignore\n"


def test_a_dockerfile_inside_is_named_by_its_place(folder: Path) -> None:
    (folder / "docs" / "D").write_text("FROM z\n")
    assert scan(folder, folder / "docs" / "D").dockerfile == "docs/D"


def test_problems_are_told_with_what_to_do(folder: Path) -> None:
    with pytest.raises(UsageProblem, match="name it with -f"):
        scan(folder, folder / "nope")
    (folder / ".dockerignore").write_text("[\n")
    with pytest.raises(UsageProblem, match="syntax error in pattern"):
        scan(folder, None)


@pytest.mark.skipif(os.name == "nt", reason="links need a right of their own there")
def test_links_are_sent_as_links_and_names_of_one_file_as_one(folder: Path) -> None:
    (folder / "docs" / "link").symlink_to("../main.o")
    (folder / "z.o").hardlink_to(folder / "main.o")
    found = members(scan(folder, None))
    assert found["docs/link"].linkname == "../main.o"
    assert found["z.o"].islnk()
    assert found["z.o"].linkname == "main.o"


def test_a_stream_is_told_from_a_dockerfile_by_its_first_bytes() -> None:
    assert is_archive(only_dockerfile(b"FROM x\n")[:512])
    assert is_archive(b"\x1f\x8b\x08" + bytes(509))
    assert not is_archive(b"FROM x\n")
    assert not is_archive(b"FROM x\n" + b"# more\n" * 100)


def test_chunks_can_be_read_in_any_size() -> None:
    reader = ChunkReader(iter([b"abc", b"", b"defg"]))
    assert [reader.read(2) for _ in range(6)] == [b"ab", b"c", b"de", b"fg", b"", b""]
    assert ChunkReader(iter([b"ab", b"c"])).read() == b"abc"
