"""Archives made to hurt: nothing lands outside, nothing hangs or fills the memory, and the error says where.

Single entries that lead outside: test_images_unpack.py. Here: bombs in every compression, archives cut or
damaged at random places, and trees and headers out of all proportion.
"""

import bz2
import gzip
import io
import lzma
import os
import random
import resource
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard
from images_rig import Entry, archive, directory, entry, hard_link, symlink, unpack

from wherryd.errors import InvalidParameter, SystemFault
from wherryd.images.unpack.order import Limits, Ratio
from wherryd.snapshots.protocol import Whiteouts

pytestmark = pytest.mark.root

Compress = Callable[[bytes], bytes]
COMPRESSIONS: dict[str, Compress] = {
    "plain": lambda data: data,
    "gzip": gzip.compress,
    "zstd": lambda data: zstandard.ZstdCompressor().compress(data),
    "bzip2": bz2.compress,
    "xz": lambda data: lzma.compress(data, preset=0),
}
EIGHT_GB = 8 * 1024**3
LARGE = os.environ.get("WHERRY_LARGE") == "1"


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    made = tmp_path / "layer"
    made.mkdir()
    return made


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return tmp_path / "recipe"


@pytest.fixture(autouse=True)
def nothing_outside(tmp_path: Path) -> Iterator[None]:
    outside = tmp_path / "outside"
    outside.write_text("untouched")
    passwd = Path("/etc/passwd").read_bytes()
    yield
    assert outside.read_text() == "untouched"
    assert outside.stat().st_nlink == 1
    assert {path.name for path in tmp_path.iterdir()} <= {"layer", "outside", "recipe"}
    assert Path("/etc/passwd").read_bytes() == passwd


# bombs


@pytest.mark.parametrize("kind", [kind for kind in COMPRESSIONS if kind != "plain"])
async def test_bomb_of_every_compression_is_stopped_by_its_ratio_and_named(
    kind: str, layer: Path, recipe: Path
) -> None:
    bomb = COMPRESSIONS[kind](archive(entry("harmless", b"x"), entry("zeros", bytes(40_000_000))))
    limits = Limits(ratio=Ratio(times=100, from_bytes=10_000_000))
    with pytest.raises(InvalidParameter, match='entry "zeros": the archive unpacks to more than 100 times'):
        await unpack(bomb, layer, recipe, limits=limits)
    assert (layer / "zeros").stat().st_size < 40_000_000


async def test_what_people_pack_is_no_bomb(layer: Path, recipe: Path) -> None:
    text = b"the same line of a log, again and again\n" * 30_000
    data = gzip.compress(archive(entry("log", text), entry("random", os.urandom(100_000))))
    await unpack(data, layer, recipe, limits=Limits(ratio=Ratio(times=100, from_bytes=1_000_000)))
    assert (layer / "log").read_bytes() == text


@pytest.mark.skipif(not LARGE, reason="writes 2 GB (WHERRY_LARGE=1)")
async def test_eight_gigabytes_of_zeros_are_stopped_by_the_default_limits(layer: Path, recipe: Path) -> None:
    member = tarfile.TarInfo("zeros")
    member.size = EIGHT_GB
    packed = io.BytesIO()
    with gzip.open(packed, "wb", compresslevel=1) as out:
        out.write(member.tobuf(tarfile.GNU_FORMAT))
        for _ in range(EIGHT_GB >> 24):
            out.write(bytes(1 << 24))
        out.write(bytes(1024))
    with pytest.raises(InvalidParameter, match='entry "zeros": the archive unpacks to more than'):
        await unpack(packed.getvalue(), layer, recipe)
    assert (layer / "zeros").stat().st_size <= 2 * 1024**3


async def test_eight_gigabytes_that_are_only_claimed_are_an_early_end(layer: Path, recipe: Path) -> None:
    member = tarfile.TarInfo("zeros")
    member.size = EIGHT_GB
    with pytest.raises(InvalidParameter, match='entry "zeros": the archive ends'):
        await unpack(member.tobuf(tarfile.GNU_FORMAT) + bytes(10_000), layer, recipe)


# damage


@pytest.mark.parametrize("kind", COMPRESSIONS)
async def test_archive_cut_anywhere_is_refused_and_never_half_accepted(
    kind: str, layer: Path, recipe: Path
) -> None:
    noise = random.Random(kind)  # noqa: S311 - no secret
    whole = archive(*(entry(f"f{number}", noise.randbytes(2_000)) for number in range(12)))
    data = COMPRESSIONS[kind](whole)
    # What follows the last entry's padding is not missed.
    last = len(whole) - tarfile.RECORDSIZE if kind == "plain" else len(data) - 8
    for number in range(4):
        place = layer / str(number)
        place.mkdir()
        with pytest.raises(InvalidParameter, match="cannot unpack the archive"):
            await unpack(data[: noise.randrange(1, last)], place, recipe)


async def test_flipped_bits_are_an_error_or_another_digest_and_stay_inside(layer: Path, recipe: Path) -> None:
    noise = random.Random(7)  # noqa: S311 - no secret
    whole = archive(
        directory("d"), entry("d/f", noise.randbytes(700)), symlink("l", "d"), hard_link("h", "d/f"),
        entry("x", b"1" * 600, pax_headers={"mtime": "1.5"}),
    )  # fmt: skip
    right = await unpack(whole, layer, recipe)
    for number in range(12):
        damaged = bytearray(whole)
        damaged[noise.randrange(len(whole) - 1024)] ^= 1 << noise.randrange(8)
        place = layer / f"case{number}"
        place.mkdir()
        try:
            found = await unpack(bytes(damaged), place, recipe)
        except (InvalidParameter, SystemFault):
            continue
        assert found.diff_id != right.diff_id


async def test_wrong_checksum_of_a_header_is_told_with_its_place(layer: Path, recipe: Path) -> None:
    data = bytearray(archive(entry("one", b"1" * 512), entry("two", b"2")))
    data[1024 + 148 : 1024 + 154] = b"000000"
    with pytest.raises(InvalidParameter, match="damaged header at byte 1024"):
        await unpack(bytes(data), layer, recipe)


# out of all proportion


async def test_tree_as_deep_as_a_path_can_be_is_unpacked_and_removed(layer: Path, recipe: Path) -> None:
    deep = "/".join(["d"] * 1_900)
    tree = layer / "tree"
    tree.mkdir()
    try:
        await unpack(archive(entry(f"{deep}/f", b"bottom")), tree, recipe)
        # And taken away again by an entry of the same archive.
        place = layer / "again"
        place.mkdir()
        await unpack(archive(entry(f"{deep}/f", b"bottom"), entry("d", b"now a file")), place, recipe)
        assert (place / "d").read_bytes() == b"now a file"
    finally:
        subprocess.run(["rm", "-rf", str(tree)], check=True)  # pytest cannot


async def test_duplicates_are_what_the_last_one_says(layer: Path, recipe: Path) -> None:
    kinds: list[Entry] = [
        entry("x", b"1"), directory("x"), entry("x/in", b"2"), symlink("x", "/etc/passwd"), entry("x", b"3"),
        hard_link("y", "x"), entry("x", b"4"), entry("y", b"5"), entry("x", b"6", mode=0),
    ]  # fmt: skip
    await unpack(archive(*kinds), layer, recipe)
    assert {path.name: path.read_bytes() for path in layer.iterdir()} == {"x": b"6", "y": b"5"}
    assert (layer / "x").stat().st_nlink == 1


async def test_chain_of_links_that_ends_outside_is_refused_by_its_entry(layer: Path, recipe: Path) -> None:
    chain = [directory("a"), *(symlink(f"a/{number}", str(number + 1)) for number in range(30))]
    chain.append(symlink("a/30", "../../outside"))
    with pytest.raises(InvalidParameter, match='entry "a/0/f"'):
        await unpack(archive(*chain, entry("a/0/f", b"x")), layer, recipe)


async def test_header_of_megabytes_is_taken_and_of_many_is_refused(layer: Path, recipe: Path) -> None:
    await unpack(archive(entry("ok", b"x", pax_headers={"comment": "c" * 2_000_000})), layer, recipe)
    assert (layer / "ok").read_bytes() == b"x"
    with pytest.raises(InvalidParameter, match="are not accepted"):
        await unpack(archive(entry("no", b"x", pax_headers={"comment": "c" * 20_000_000})), layer, recipe)


async def test_headers_without_end_do_not_fill_the_memory(layer: Path, recipe: Path) -> None:
    """Each is small enough alone; they come before any entry."""
    one = archive(entry("n", b"", pax_headers={f"SCHILY.xattr.user.{key}": "v" * 9_000 for key in range(90)}))
    head = one[: one.rindex(b"ustar") - 257]  # without the entry itself
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    with pytest.raises((InvalidParameter, SystemFault)):
        await unpack(head * 40, layer, recipe)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss - before < 1_000_000


async def test_names_of_any_bytes_are_kept_as_they_are(layer: Path, recipe: Path) -> None:
    names = ["caf\udce9", "\udcff\udcfe", "new\nline", "tab\t", "esc\x1b[2J", "ünï", "-rf", "a\\b", " "]
    await unpack(archive(*(entry(name, b"x") for name in names)), layer, recipe)
    assert sorted(os.listdir(layer)) == sorted(names)  # noqa: PTH208
    with pytest.raises(InvalidParameter, match='entry "caf�/'):
        await unpack(archive(entry("caf\udce9/../../x", b"x")), layer, recipe)


@pytest.mark.parametrize("whiteouts", Whiteouts)
async def test_devices_and_pipes_do_not_stop_the_unpacker(
    whiteouts: Whiteouts, layer: Path, recipe: Path
) -> None:
    """Opening one of them would wait for ever, or reach the machine's memory."""
    kinds: list[Entry] = [
        entry("pipe", kind=tarfile.FIFOTYPE),
        entry("pipe", b"now a file"),
        entry("mem", kind=tarfile.CHRTYPE, devmajor=1, devminor=1),
        hard_link("mem2", "mem"),
        entry("mem", b"now a file"),
        entry("pipe2", kind=tarfile.FIFOTYPE, mode=0),
        hard_link("pipe3", "pipe2"),
        entry(".wh.pipe3"),
    ]
    await unpack(archive(*kinds), layer, recipe, whiteouts)
    assert (layer / "pipe").read_bytes() == b"now a file"
    assert (layer / "mem").is_file()
    assert (layer / "mem2").is_char_device()
