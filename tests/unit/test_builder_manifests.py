"""Lists of contexts that the engine remembers: which, how many, how long ones."""

from collections.abc import AsyncIterator

import pytest

from wherryd.builder.contexts import manifest
from wherryd.builder.contexts.manifest import Manifest, Manifests, read_changes
from wherryd.errors import InvalidParameter
from wherrywire.contextsync import Entry, Kind, difference, digest_of


def lines(*names: str) -> list[bytes]:
    return [Entry(kind=Kind.DIRECTORY, path=name, mode=0o755, mtime_ns=0).line() for name in names]


async def stream(data: bytes, size: int = 7) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


async def read(manifests: Manifests, told: list[bytes]) -> Manifest:
    return await manifests.read(stream(b"".join(told)))


async def test_a_list_is_found_by_the_digest_that_the_client_computes() -> None:
    manifests = Manifests()
    made = await read(manifests, lines("a", "b"))
    assert manifests.get(digest_of(lines("a", "b"))) is made
    assert await read(manifests, lines("a", "b")) is made


async def test_a_change_makes_the_other_list() -> None:
    manifests = Manifests()
    base = await read(manifests, lines("a", "b", "c"))
    changes = difference(lines("a", "b", "c"), lines("a", "bb", "c"))
    assert changes is not None
    made = manifests.change(base, changes)
    assert made.digest == digest_of(lines("a", "bb", "c"))
    assert manifests.get(made.digest) is made


async def test_the_longest_unused_is_forgotten_first() -> None:
    manifests = Manifests()
    names = [chr(97 + each) for each in range(manifest.MAX_KEPT + 1)]
    for name in names[:-1]:
        await read(manifests, lines(name))
    assert manifests.get(digest_of(lines("a")))
    await read(manifests, lines(names[-1]))
    assert manifests.get(digest_of(lines("b"))) is None
    assert manifests.get(digest_of(lines("a")))


async def test_a_list_that_is_too_long_displaces_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "MAX_KEPT_BYTES", 60)
    manifests = Manifests()
    await read(manifests, lines("a"))
    await read(manifests, lines("b", "c", "d", "e"))
    assert manifests.get(digest_of(lines("b", "c", "d", "e"))) is None
    assert manifests.get(digest_of(lines("a")))


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
@pytest.mark.parametrize("told", [[], [b"=1\n"], [b"=1\n", b"[2]\n"]])
@pytest.mark.parametrize("rest", [b"", b"\n\nand more", b"content"])
async def test_changes_end_at_the_empty_line_wherever_they_are_cut(
    told: list[bytes], rest: bytes, size: int
) -> None:
    found, after = await read_changes(stream(b"".join([*told, b"\n", rest]), size))
    assert (found, b"".join([data async for data in after])) == (told, rest)


async def test_changes_have_an_end_and_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "MAX_CHANGE_BYTES", 100)
    with pytest.raises(InvalidParameter, match="cut off"):
        await read_changes(stream(b"=1\n"))
    with pytest.raises(InvalidParameter, match="more than 100 bytes"):
        await read_changes(stream(b"=1\n" * 100))
