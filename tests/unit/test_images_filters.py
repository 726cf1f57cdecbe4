"""Lists and prunes choose the images that Docker's filters choose."""

import time

import pytest

from wherryd import clock
from wherryd.errors import InvalidParameter, NotFound
from wherryd.images import filters
from wherryd.images.image import Image


def image(letter: str, created: str, *tags: str, **labels: str) -> Image:
    return Image(
        id="sha256:" + letter * 64,
        config={"config": {"Labels": labels}},
        chain_id="",
        size_bytes=0,
        created=created,
        parent="",
        tags=tags,
        digests=(),
    )


OLD = image("a", "2020-01-01T00:00:00Z", "mysql:5", "reg.example.com/team/mysql:5", tier="db")
MID = image("b", "2021-01-01T00:00:00.5Z", "web:1", tier="front", owner="me")
NEW = image("c", "2022-01-01T00:00:00+01:00")
ALL = [OLD, MID, NEW]


def resolve(name: str) -> Image:
    for known in ALL:
        if name in known.tags:
            return known
    raise NotFound(f"No such image: {name}")


@pytest.mark.parametrize(
    ("chosen", "wanted"),
    [
        ({}, ALL),
        ({"dangling": ["true"]}, [NEW]),
        ({"dangling": ["0"]}, [OLD, MID]),
        ({"label": ["tier"]}, [OLD, MID]),
        ({"label": ["tier=db"]}, [OLD]),
        ({"label": ["tier", "owner=me"]}, [MID]),
        ({"label!": ["tier"]}, [NEW]),
        ({"before": ["web:1"]}, [OLD]),
        ({"since": ["web:1"]}, [NEW]),
        ({"until": ["2021-06-01"]}, [OLD, MID]),
        ({"until": ["1600000000"]}, [OLD]),
        ({"until": ["24h"]}, ALL),
        ({"reference": ["mysql"]}, [OLD]),
        ({"reference": ["my*:5"]}, [OLD]),
        ({"reference": ["*"]}, [OLD, MID]),
        ({"reference": ["*/*/mysql"]}, [OLD]),
        ({"reference": ["*/mysql"]}, []),
        ({"reference": ["we[a-c]:?", "nothing"]}, [MID]),
    ],
)
def test_filter_chooses(chosen: dict[str, list[str]], wanted: list[Image]) -> None:
    assert filters.select(ALL, chosen, resolve) == wanted


def test_reference_filter_hides_the_other_names_of_an_image() -> None:
    assert filters.matching_names(OLD, {"reference": ["mysql"]}) == ("mysql:5",)


def test_unknown_key_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="invalid filter 'colour'"):
        filters.check_keys({"colour": ["red"]}, filters.LIST_KEYS)


@pytest.mark.parametrize("bad", [{"dangling": ["maybe"]}, {"reference": ["a[b"]}, {"until": ["whenever"]}])
def test_bad_value_is_refused(bad: dict[str, list[str]]) -> None:
    with pytest.raises(InvalidParameter):
        filters.select(ALL, bad, resolve)


def test_before_an_unknown_image_is_not_found() -> None:
    with pytest.raises(NotFound):
        filters.select(ALL, {"before": ["nothing"]}, resolve)


def test_times_keep_their_nanoseconds() -> None:
    assert clock.to_nanoseconds("1970-01-01T00:00:01.000000001Z") == 1_000_000_001
    assert clock.to_nanoseconds("1970-01-01T01:00:00+01:00") == 0
    assert abs(clock.to_nanoseconds(clock.now()) - time.time_ns()) < 10_000_000_000


def test_durations_are_gos() -> None:
    assert clock.parse_duration("1h1m1.5s") == 3_661_500_000_000
    assert clock.parse_duration("10ms") == 10_000_000
    for bad in ("", "1", "h", "1h 2m", "-1h"):
        with pytest.raises(InvalidParameter):
            clock.parse_duration(bad)


def test_until_reads_an_age_backwards() -> None:
    assert abs(time.time_ns() - 60_000_000_000 - clock.parse_until("1m")) < 10_000_000_000
