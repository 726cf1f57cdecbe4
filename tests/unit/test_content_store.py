"""The content store's promises."""

import hashlib
from pathlib import Path

import pytest

from wherryd.content import digest as digests
from wherryd.content.store import ContentStore
from wherryd.errors import InvalidParameter, NotFound


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "content")


def test_blob_comes_back_under_its_digest(store: ContentStore) -> None:
    digest = store.add(b"hello")
    assert digest == "sha256:" + hashlib.sha256(b"hello").hexdigest()
    assert store.read(digest) == b"hello"
    assert store.size(digest) == 5
    assert list(store.walk()) == [digest]


def test_blob_with_another_digest_than_expected_is_refused_and_leaves_nothing(store: ContentStore) -> None:
    wanted = digests.of(b"other")
    with store.writer() as writer:
        writer.write(b"hello")
        with pytest.raises(InvalidParameter, match=wanted):
            writer.commit(wanted)
    assert list(store.walk()) == []
    assert not store.has(wanted)


def test_writer_left_without_commit_leaves_nothing(store: ContentStore, tmp_path: Path) -> None:
    with store.writer() as writer:
        writer.write(b"half")
    assert list(store.walk()) == []
    assert list((tmp_path / "content" / "ingest").iterdir()) == []


def test_same_blob_twice_is_kept_once(store: ContentStore) -> None:
    assert store.add(b"x") == store.add(b"x")
    assert len(list(store.walk())) == 1


def test_restart_removes_half_written_blobs(store: ContentStore, tmp_path: Path) -> None:
    half = tmp_path / "content" / "ingest" / "tmpabc"
    half.write_bytes(b"half")
    kept = store.add(b"whole")
    again = ContentStore(tmp_path / "content")
    assert not half.exists()
    assert again.read(kept) == b"whole"


@pytest.mark.parametrize("text", ["", "sha256:../../etc/passwd", "md5:00", "sha256:" + "A" * 64, "x"])
def test_what_is_no_digest_never_becomes_a_path(store: ContentStore, text: str) -> None:
    with pytest.raises(InvalidParameter, match="invalid digest"):
        store.path(text)


def test_missing_blob_is_not_found(store: ContentStore) -> None:
    with pytest.raises(NotFound):
        store.open(digests.of(b"nothing"))


def test_document_over_the_limit_is_refused(store: ContentStore) -> None:
    digest = store.add(b"x" * 100)
    with pytest.raises(InvalidParameter):
        store.read(digest, max_bytes=99)


def test_sweep_keeps_what_is_referred_to(store: ContentStore) -> None:
    kept, gone = store.add(b"kept"), store.add(b"gone")
    assert store.sweep({kept}) == [gone]
    assert list(store.walk()) == [kept]
