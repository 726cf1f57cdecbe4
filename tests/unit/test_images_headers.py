"""The fast header reader and tarfile agree, on everything."""

import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherryd.images.unpack.errors import ArchiveError
from wherryd.images.unpack.headers import Header

FIELDS = ("name", "linkname", "mode", "uid", "gid", "size", "mtime", "type", "chksum")
NAMES = st.text(st.characters(min_codepoint=1, max_codepoint=0x2FF), min_size=1, max_size=60)


def both(block: bytes) -> tuple[object, object]:
    found: list[object] = []
    for kind in (tarfile.TarInfo, Header):
        try:
            header = kind.frombuf(block, "utf-8", "surrogateescape")
            found.append({field: getattr(header, field) for field in FIELDS})
        except (tarfile.TarError, ArchiveError) as exc:
            found.append(type(exc))
    # The one wanted difference: tarfile lets a negative size pass.
    if isinstance(found[0], dict) and found[0]["size"] < 0:
        found[0] = ArchiveError
    return found[0], found[1]


@given(
    name=NAMES,
    link=NAMES,
    mode=st.integers(0, 0o7777),
    owner=st.integers(0, 2**40),
    size=st.integers(0, 2**45),
    mtime=st.integers(0, 2**35),
    kind=st.sampled_from([b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"\0"]),
    form=st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT]),
)
def test_headers_that_programs_write(
    name: str, link: str, mode: int, owner: int, size: int, mtime: int, kind: bytes, form: int
) -> None:
    info = tarfile.TarInfo(name)
    info.linkname, info.mode, info.uid, info.gid = link, mode, owner, owner
    info.size, info.mtime, info.type = size, mtime, kind
    try:
        block = info.tobuf(form, "utf-8", "surrogateescape")
    except ValueError:
        return  # does not fit into this format
    slow, fast = both(block[-512:])
    assert slow == fast


@given(st.data())
def test_damaged_headers(data: st.DataObject) -> None:
    block = bytearray(tarfile.TarInfo("some/name").tobuf(tarfile.USTAR_FORMAT))
    for _ in range(data.draw(st.integers(1, 3))):
        block[data.draw(st.integers(0, 511))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        block[148:156] = b"%06o\0 " % (sum(block) - sum(block[148:156]) + 256)
    slow, fast = both(bytes(block))
    assert slow == fast


@pytest.mark.parametrize("block", [b"", b"\0" * 512, b"x" * 511])
def test_what_is_no_header(block: bytes) -> None:
    slow, fast = both(block)
    assert slow == fast
