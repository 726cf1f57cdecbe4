"""Entries as they stream by, the common ones past `tarfile`: the same entries, and the same refusals."""

import io
import tarfile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherryd.images.unpack.errors import ArchiveError
from wherryd.images.unpack.members import members
from wherryd.images.unpack.order import Limits
from wherryd.images.unpack.reader import TarReader

FIELDS = ("name", "linkname", "mode", "uid", "gid", "size", "mtime", "type", "pax_headers")
FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
ENTRIES = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.one_of(st.text("ab/é", min_size=1, max_size=8), st.integers(95, 300).map("n".__mul__)),
            "linkname": st.one_of(st.just("x"), st.just("l" * 120)),
            "type": st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE]),
            "uid": st.sampled_from([0, 1000, 8**7]),
            "mtime": st.sampled_from([0, 1_700_000_000, 1.5]),
            "size": st.sampled_from([0, 1, 511, 512, 513]),
        }
    ),
    min_size=1,
    max_size=8,
)


def written(entries: list[dict[str, Any]], form: int, everywhere: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form, pax_headers=everywhere) as archive:
        for fields in entries:
            member = tarfile.TarInfo()
            for name, value in fields.items():
                setattr(member, name, value)
            if not member.isreg():
                member.size = 0
            if form != tarfile.PAX_FORMAT:
                member.mtime = int(member.mtime)
                member.uid = member.uid if form == tarfile.GNU_FORMAT else member.uid % 8**7
            try:
                archive.addfile(member, io.BytesIO(b"c" * member.size))
            except ValueError:
                continue  # a name that ustar has no room for
    return out.getvalue()


def seen(data: bytes, *, contents: bool = True, piece: int = 10**6) -> list[dict[str, Any]]:
    """piece: as much of the archive is read at a time."""

    class Source(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(piece, size or piece))

    raw = bytearray()
    reader = TarReader(Source(data), raw.extend, Limits().bytes)
    found = []
    for member in members(reader, Limits().trailing_bytes):
        found.append({field: getattr(member, field) for field in FIELDS})
        if contents and member.isreg():
            reader.payload(member.size, raw.extend)
            reader.read(-member.size % tarfile.BLOCKSIZE)
    if contents:
        assert bytes(raw) == data, "every byte was handed on, in order"
    return found


@given(
    entries=ENTRIES,
    form=st.sampled_from(FORMATS),
    everywhere=st.sampled_from([{}, {"uid": "77"}, {"comment": "c"}]),
    contents=st.booleans(),
    piece=st.sampled_from([100, 512, 1000, 10**6]),
)
def test_entries_are_tarfiles_whoever_reads_their_contents(
    entries: list[dict[str, Any]], form: int, everywhere: dict[str, str], contents: bool, piece: int
) -> None:
    data = written(entries, form, everywhere)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        wanted = [{field: getattr(member, field) for field in FIELDS} for member in archive]
    assert seen(data, contents=contents, piece=piece) == wanted


@pytest.mark.parametrize("contents", [True, False])
@pytest.mark.parametrize("second", [tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT])
def test_archive_that_ends_within_an_entry_is_refused(second: int, contents: bool) -> None:
    entry = {"name": "file", "size": 1000, "mtime": 1.5 if second == tarfile.PAX_FORMAT else 1}
    data = written([{"name": "first"}, entry], second, {})
    whole = len(data.rstrip(b"\0")) // 512 * 512
    for end in range(513, whole, 101):
        if end % 512 == 0:
            continue
        with pytest.raises((ArchiveError, tarfile.TarError)):
            seen(data[:end], contents=contents)


def test_damaged_header_behind_a_common_one_is_refused() -> None:
    data = bytearray(written([{"name": "a"}, {"name": "b"}], tarfile.USTAR_FORMAT, {}))
    data[512 + 3] ^= 1
    with pytest.raises(ArchiveError, match="damaged header at byte 512"):
        seen(bytes(data))


def test_negative_size_behind_a_common_header_is_refused() -> None:
    block = bytearray(tarfile.TarInfo("evil").tobuf(tarfile.USTAR_FORMAT))
    block[124:136] = b"-0000000001\0"
    block[148:156] = b"%06o\0 " % (sum(block) - sum(block[148:156]) + 256)
    with pytest.raises(ArchiveError, match="negative"):
        seen(written([{"name": "a"}], tarfile.USTAR_FORMAT, {})[:512] + bytes(block) + bytes(1024))
