"""Archives become layers: everything a file can be, and nothing outside of the layer's directory."""

import bz2
import gzip
import hashlib
import lzma
import os
import stat
import struct
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from images_rig import Entry, archive, directory, entry, hard_link, symlink, unpack

from wherryd.errors import InvalidParameter, SystemFault
from wherryd.images.unpack.order import Limits
from wherryd.images.unpack.process import Unpacking
from wherryd.images.unpack.recipe import replay
from wherryd.snapshots.protocol import UnpackTarget, Whiteouts

pytestmark = pytest.mark.root


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    (tmp_path / "layer").mkdir()
    return tmp_path / "layer"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return tmp_path / "recipe"


def remade(layer: Path, recipe: Path) -> bytes:
    with recipe.open("rb") as file:
        return b"".join(replay(file, lambda path: os.open(os.fsencode(layer) + b"/" + path, os.O_RDONLY)))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def opaque(path: Path) -> bool:
    return "trusted.overlay.opaque" in os.listxattr(path)


def is_whiteout(path: Path) -> bool:
    status = path.lstat()
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


async def test_every_kind_of_entry_arrives_with_its_owner_mode_and_time(layer: Path, recipe: Path) -> None:
    data = archive(
        directory("./", mode=0o751),
        directory("d", mode=0o2775, gid=8, mtime=1_500_000_000),
        entry("d/f", b"text", mode=0o4755, uid=5, gid=7),
        entry("d/root-suid", b"x", mode=0o4755),
        entry("d/inherits", b"x"),
        symlink("d/s", "../../../etc/passwd", uid=3, gid=4),
        hard_link("d/h", "d/f"),
        entry("d/null", kind=tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666),
        entry("d/loop", kind=tarfile.BLKTYPE, devmajor=7, devminor=0, mode=0o660, gid=6),
        entry("d/pipe", kind=tarfile.FIFOTYPE, mode=0o600),
        entry("no/entry/for/parents", b"y"),
    )
    done = await unpack(data, layer, recipe)
    assert done.entries == 11
    assert done.size_bytes == 7
    assert stat.S_IMODE(layer.stat().st_mode) == 0o751
    f = (layer / "d/f").stat()
    assert (f.st_uid, f.st_gid, f.st_mode, f.st_nlink) == (5, 7, stat.S_IFREG | 0o4755, 2)
    assert f.st_mtime == 1_600_000_000
    assert (layer / "d/root-suid").stat().st_mode == stat.S_IFREG | 0o4755
    assert (layer / "d/inherits").stat().st_gid == 0
    d = (layer / "d").stat()
    assert (d.st_mode, d.st_gid, d.st_mtime) == (stat.S_IFDIR | 0o2775, 8, 1_500_000_000)
    link = (layer / "d/s").lstat()
    assert (link.st_uid, link.st_gid, link.st_mtime) == (3, 4, 1_600_000_000)
    assert str((layer / "d/s").readlink()) == "../../../etc/passwd"
    null = (layer / "d/null").stat()
    assert (null.st_mode, null.st_rdev) == (stat.S_IFCHR | 0o666, os.makedev(1, 3))
    loop = (layer / "d/loop").stat()
    assert (loop.st_mode, loop.st_gid, loop.st_rdev) == (stat.S_IFBLK | 0o660, 6, os.makedev(7, 0))
    assert (layer / "d/pipe").stat().st_mode == stat.S_IFIFO | 0o600
    assert (layer / "no/entry/for/parents").read_bytes() == b"y"


async def test_archive_is_made_again_byte_for_byte(layer: Path, recipe: Path) -> None:
    data = archive(
        entry("a", os.urandom(3_000_000)),
        directory("d"),
        entry("d/ä" + "x" * 150, b"long name", uid=3_000_000),
        symlink("link", "d"),
        entry("link/through", b"through a link"),
        entry("a", b"replaced"),
        entry("d2/f", b"goes with its directory"),
        entry("d2", b"now a file"),
        hard_link("again", "a"),
    )
    data += bytes(10_240)  # more padding than the format asks for
    done = await unpack(data, layer, recipe)
    assert done.diff_id == "sha256:" + hashlib.sha256(data).hexdigest()
    assert done.tar_bytes == len(data)
    assert remade(layer, recipe) == data
    assert (layer / "a").read_bytes() == b"replaced"
    assert (layer / "d2").read_bytes() == b"now a file"


def compressors() -> list[tuple[str, Callable[[bytes], bytes]]]:
    return [
        ("plain", bytes),
        ("gzip", gzip.compress),
        ("gzip in two members", lambda data: gzip.compress(data[:5000]) + gzip.compress(data[5000:])),
        ("bzip2", bz2.compress),
        ("xz", lzma.compress),
        ("zstd", zstandard.compress),
    ]


@pytest.mark.parametrize(
    ("name", "compress"), compressors(), ids=lambda value: value if isinstance(value, str) else ""
)
async def test_each_compression_gives_the_same_layer(
    name: str, compress: Callable[[bytes], bytes], layer: Path, recipe: Path
) -> None:
    data = archive(entry("f", b"0123456789" * 50_000))
    done = await unpack(compress(data), layer, recipe)
    assert done.diff_id == "sha256:" + hashlib.sha256(data).hexdigest()
    assert (layer / "f").stat().st_size == 500_000


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, zstandard.compress])
async def test_cut_off_compressed_archive_is_an_error(
    compress: Callable[[bytes], bytes], layer: Path, recipe: Path
) -> None:
    whole = compress(archive(entry("f", os.urandom(200_000))))
    with pytest.raises(InvalidParameter):
        await unpack(whole[: len(whole) // 2], layer, recipe)


async def test_holes_stay_holes_and_come_back_in_the_archive(
    layer: Path, recipe: Path, tmp_path: Path
) -> None:
    big = tmp_path / "sparse"
    with big.open("wb") as file:
        file.write(b"start")
        file.seek(50_000_000)
        file.write(b"end")
    for form in ("gnu", "posix"):
        packed = subprocess.run(
            ["tar", f"--format={form}", "-cSf", "-", "-C", str(tmp_path), "sparse"],
            capture_output=True,
            check=True,
        ).stdout
        assert len(packed) < 200_000
        done = await unpack(packed, layer, recipe)
        assert done.size_bytes == 50_000_003
        written = layer / "sparse"
        assert written.stat().st_blocks * 512 < 1_000_000
        assert written.read_bytes() == big.read_bytes()
        assert remade(layer, recipe) == packed
        written.unlink()


async def test_file_capabilities_and_user_attributes_are_kept_and_others_are_not(
    layer: Path, recipe: Path
) -> None:
    # version 2, effective, CAP_NET_RAW: linux/capability.h, struct vfs_cap_data
    capability = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)
    headers = {
        "SCHILY.xattr.security.capability": capability.decode("utf-8", "surrogateescape"),
        "SCHILY.xattr.user.note": "hello",
        "SCHILY.xattr.trusted.overlay.opaque": "y",
        "SCHILY.xattr.user.overlay.opaque": "y",
        "mtime": "1600000000.123456789",
    }
    await unpack(
        archive(entry("ping", b"x", pax_headers=headers), directory("d", pax_headers=headers)), layer, recipe
    )
    for name in ("ping", "d"):
        kept = os.listxattr(layer / name)
        assert "trusted.overlay.opaque" not in kept
        assert "user.overlay.opaque" not in kept
        assert os.getxattr(layer / name, "user.note") == b"hello"
    assert os.getxattr(layer / "ping", "security.capability")[:8] == capability[:8]
    assert (layer / "ping").stat().st_mtime_ns == 1_600_000_000_123_456_789


async def test_whiteouts_become_overlays_own(layer: Path, recipe: Path) -> None:
    data = archive(
        directory("d"),
        entry("d/.wh.gone"),
        directory("o"),
        entry("o/new", b"n"),
        entry("o/.wh..wh..opq"),
        entry("o/newer", b"n"),
        entry(".wh.again"),
        directory("again"),
        directory("mine"),
        entry("mine/f", b"f"),
        entry(".wh.mine"),
        entry("file", b"f"),
        entry(".wh.file"),
        entry(".wh..wh.plnk"),
    )
    await unpack(data, layer, recipe)
    assert is_whiteout(layer / "d/gone")
    assert opaque(layer / "o")
    assert names(layer / "o") == ["new", "newer"]
    assert (layer / "again").is_dir()
    assert opaque(layer / "again")
    assert opaque(layer / "mine")
    assert (layer / "mine/f").read_bytes() == b"f"
    assert (layer / "file").read_bytes() == b"f"
    assert not any(name.startswith(".wh.") for name in names(layer))
    assert remade(layer, recipe) == data


async def test_whiteouts_remove_files_where_layers_are_copies(layer: Path, recipe: Path) -> None:
    for path in ("d/gone", "o/old", "o/sub/old", "again/old", "mine/old", "kept"):
        (layer / path).parent.mkdir(parents=True, exist_ok=True)
        (layer / path).write_text("below")
    data = archive(
        entry("d/.wh.gone"),
        entry("o/new", b"n"),
        entry("o/.wh..wh..opq"),
        entry(".wh.again"),
        directory("again"),
        entry("mine/f", b"f"),
        entry(".wh.mine"),
        entry(".wh.never-there"),
    )
    await unpack(data, layer, recipe, Whiteouts.APPLY)
    assert names(layer / "d") == []
    assert names(layer / "o") == ["new"]
    assert names(layer / "again") == []
    assert names(layer / "mine") == ["f"]
    assert (layer / "kept").exists()
    assert remade(layer, recipe) == data


HOSTILE: list[tuple[str, list[Entry], str]] = [
    ("dotdot", [entry("../evil", b"x")], "../evil"),
    ("dotdot inside", [entry("a/../../evil", b"x")], "a/../../evil"),
    ("link up", [symlink("l", "../.."), entry("l/evil", b"x")], "l/evil"),
    (
        "chain up",
        [symlink("a", "b"), symlink("b", "c/.."), symlink("c", ".."), entry("a/evil", b"x")],
        "a/evil",
    ),
    ("hard link up", [hard_link("h", "../outside")], "h"),
    ("hard link over a link", [symlink("l", "../"), hard_link("h", "l/outside")], "h"),
    ("hard link to nothing", [hard_link("h", "/etc/passwd")], "h"),
    ("hard link to a directory", [directory("d"), hard_link("h", "d")], "h"),
    ("whiteout of dotdot", [entry(".wh...", b"")], ".wh..."),
    ("whiteout of nothing", [entry(".wh.", b"")], ".wh."),
    ("file as directory", [entry("f", b"x"), entry("f/g", b"x")], "f/g"),
    ("device as directory", [entry("n", kind=tarfile.CHRTYPE, devmajor=1, devminor=3), entry("n/g")], "n/g"),
    ("endless links", [symlink("a", "b"), symlink("b", "a"), entry("a/f", b"x")], "a/f"),
    ("name too long", [entry("d/" * 2100 + "f", b"x")], "d/d/"),
    ("component too long", [entry("x" * 300, b"x")], "xxx"),
    ("owner out of range", [entry("f", b"x", uid=2**33)], "f"),
    ("root as file", [entry(".", b"x")], "."),
    ("unknown kind", [entry("k", kind=b"Z")], "k"),
    ("whole root hidden", [entry(".wh..wh..opq")], ".wh..wh..opq"),
]


@pytest.mark.parametrize(
    ("entries", "named"), [case[1:] for case in HOSTILE], ids=[case[0] for case in HOSTILE]
)
async def test_hostile_entry_is_refused_by_name_and_lands_nowhere(
    entries: list[Entry], named: str, layer: Path, recipe: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.write_text("untouched")
    with pytest.raises((InvalidParameter, SystemFault)) as caught:
        await unpack(archive(entry("first", b"1"), *entries), layer, recipe)
    assert f'entry "{named}' in str(caught.value)
    assert outside.read_text() == "untouched"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["layer", "outside", "recipe"]
    assert outside.stat().st_nlink == 1


HARMLESS: list[tuple[str, list[Entry], str]] = [
    ("absolute name", [entry("/etc/evil", b"x")], "etc/evil"),
    ("absolute link on the way", [symlink("l", "/etc"), entry("l/evil", b"x")], "etc/evil"),
    ("absolute link with dotdot", [directory("d"), symlink("l", "/d/../d"), entry("l/evil", b"x")], "d/evil"),
    ("dotdot that stays", [entry("a/../evil", b"x")], "evil"),
    ("link to the top", [symlink("l", "/"), entry("l/evil", b"x")], "evil"),
    ("file over a link", [symlink("evil", "/etc/passwd"), entry("evil", b"x")], "evil"),
    (
        "link replaced by directory",
        [directory("e"), symlink("l", "e"), directory("l"), entry("l/evil", b"x")],
        "l/evil",
    ),
    (
        "directory replaced by a link while it is remembered",
        [directory("d"), entry("d/1", b""), directory("e"), symlink("d", "e"), entry("d/evil", b"x")],
        "e/evil",
    ),
]


@pytest.mark.parametrize(
    ("entries", "place"), [case[1:] for case in HARMLESS], ids=[case[0] for case in HARMLESS]
)
async def test_odd_entry_lands_inside(entries: list[Entry], place: str, layer: Path, recipe: Path) -> None:
    before = Path("/etc/passwd").read_bytes()
    data = archive(*entries)
    await unpack(data, layer, recipe)
    found = layer / place
    assert found.read_bytes() == b"x"
    assert not found.is_symlink()
    assert Path("/etc/passwd").read_bytes() == before
    assert not Path("/etc/evil").exists()
    assert remade(layer, recipe) == data


@pytest.mark.parametrize("data", [b"", b"\0" * 10, b"hello world" * 1000, b"\x1f\x8b", b"\x28\xb5\x2f\xfdxx"])
async def test_what_is_no_archive_is_refused(data: bytes, layer: Path, recipe: Path) -> None:
    with pytest.raises(InvalidParameter, match="cannot unpack the archive"):
        await unpack(data, layer, recipe)
    assert names(layer) == []


async def test_archive_cut_off_inside_a_file_names_the_file(layer: Path, recipe: Path) -> None:
    data = archive(entry("one", b"1"), entry("two", b"2" * 100_000))
    with pytest.raises(InvalidParameter, match='entry "two": the archive ends'):
        await unpack(data[:5000], layer, recipe)


async def test_damaged_header_in_the_middle_is_an_error_and_not_an_end(layer: Path, recipe: Path) -> None:
    data = bytearray(archive(entry("one", b"1" * 512), entry("two", b"2")))
    data[1024 + 20] ^= 0xFF
    with pytest.raises(InvalidParameter, match="damaged header at byte 1024"):
        await unpack(bytes(data), layer, recipe)


async def test_empty_archive_is_an_empty_layer(layer: Path, recipe: Path) -> None:
    done = await unpack(bytes(1024), layer, recipe)
    assert (done.entries, done.size_bytes, names(layer)) == (0, 0, [])


async def test_too_many_entries_are_refused(layer: Path, recipe: Path) -> None:
    data = archive(*(entry(f"f{number}") for number in range(20)))
    with pytest.raises(InvalidParameter, match="more than 10 entries"):
        await unpack(data, layer, recipe, limits=Limits(entries=10))


async def test_bomb_is_stopped_at_the_limit(layer: Path, recipe: Path) -> None:
    bomb = gzip.compress(archive(entry("zeros", bytes(30_000_000))))
    assert len(bomb) < 100_000
    with pytest.raises(InvalidParameter, match="larger than 5000000 bytes"):
        await unpack(bomb, layer, recipe, limits=Limits(bytes=5_000_000))


async def test_huge_header_is_refused_before_it_is_in_memory(layer: Path, recipe: Path) -> None:
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 2**40
    with pytest.raises(InvalidParameter, match="a header of 1099511627776 bytes"):
        await unpack(header.tobuf(tarfile.GNU_FORMAT) + bytes(10_000), layer, recipe)


@pytest.mark.parametrize(
    "kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_SPARSE]
)
async def test_negative_size_is_refused(kind: bytes, layer: Path, recipe: Path) -> None:
    # CVE-2025-8194: tarfile goes backwards for ever
    header = tarfile.TarInfo("backwards")
    header.type, header.size = kind, -512
    block = header.tobuf(tarfile.GNU_FORMAT)
    with pytest.raises(InvalidParameter, match="size is negative"):
        await unpack(archive(entry("one", b"1"))[:1024] + block + bytes(10_000), layer, recipe)


async def test_endless_padding_is_refused(layer: Path, recipe: Path) -> None:
    # CVE-2017-14992: gigabytes of zeros behind a tiny archive
    with pytest.raises(InvalidParameter, match="follow the end of the archive"):
        await unpack(gzip.compress(bytes(80_000_000)), layer, recipe)


async def test_nothing_of_the_layer_is_loaded_or_run_by_the_unpacker(layer: Path, recipe: Path) -> None:
    # Had the child kept its module path, an import after the pivot would run this.
    evil = b"open('/pwned', 'w').close()"
    places = [
        entry(f"{path.lstrip('/')}/encodings/idna.py", evil) for path in sys.path if path.startswith("/")
    ]
    error = entry("bad/\udcff", b"x")
    await unpack(archive(*places, error), layer, recipe)
    assert not (layer / "pwned").exists()


async def test_aborted_unpacking_leaves_no_process(layer: Path, recipe: Path) -> None:
    with recipe.open("wb") as file:
        job = await Unpacking.start(UnpackTarget(layer, Whiteouts.OVERLAY), file.fileno())
        await job.feed(archive(entry("f", b"x" * 100_000))[:50_000])
        pid = job.pid
        await job.abort()
        await job.abort()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
