"""Leases: which work keeps what it needs, for how long."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from wherryd.errors import InvalidParameter, Unavailable
from wherryd.images.leases import LIFETIME_SECONDS, Expiry, Kind, Leases
from wherryd.metadata.database import Database


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(tmp_path / "db")
    yield made
    made.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def _fail(leases: Leases, name: str, problem: BaseException) -> None:
    with (
        pytest.raises(type(problem)),
        leases.held(name, layers=[f"{name}-layer"], partials=[f"{name}-blob"]),
    ):
        raise problem


def test_what_is_held_is_kept_and_success_ends_it(database: Database, clock: Clock) -> None:
    leases = Leases(database, clock)
    with leases.held("a", layers=["one", "two"], partials=["blob"]):
        assert leases.items(Kind.LAYER) == {"one", "two"}
        assert leases.items(Kind.PARTIAL) == {"blob"}
    assert not leases.items(Kind.LAYER) | leases.items(Kind.PARTIAL)
    assert leases.seconds_left() is None


@pytest.mark.parametrize("problem", [Unavailable("no network"), asyncio.CancelledError()])
def test_interrupted_work_keeps_what_it_has_over_a_restart(
    database: Database, clock: Clock, problem: BaseException
) -> None:
    _fail(Leases(database, clock), "a", problem)
    after = Leases(database, clock)
    assert after.items(Kind.LAYER) == {"a-layer"}
    assert after.items(Kind.PARTIAL) == {"a-blob"}


def test_work_that_never_ended_is_known_after_a_kill(database: Database, clock: Clock) -> None:
    with Leases(database, clock).held("a", layers=["one"], partials=[]):
        killed_and_back = Leases(database, clock)
        assert killed_and_back.items(Kind.LAYER) == {"one"}
        clock.now += LIFETIME_SECONDS
        assert killed_and_back.expire()
        assert not killed_and_back.items(Kind.LAYER)


def test_bad_content_is_not_kept(database: Database, clock: Clock) -> None:
    leases = Leases(database, clock)
    _fail(leases, "a", InvalidParameter("a hostile archive"))
    assert not leases.items(Kind.LAYER) | leases.items(Kind.PARTIAL)


def test_lease_expires_only_when_nobody_holds_it(database: Database, clock: Clock) -> None:
    leases = Leases(database, clock)
    _fail(leases, "left", Unavailable("x"))
    with leases.held("held", layers=["one"], partials=[]):
        clock.now += LIFETIME_SECONDS - 1
        assert not leases.expire()
        clock.now += 2
        assert leases.items(Kind.LAYER) == {"one"}, "an expired one protects nothing, a held one everything"
        assert leases.expire()
        assert leases.items(Kind.LAYER) == {"one"}


def test_trying_again_begins_the_time_anew(database: Database, clock: Clock) -> None:
    leases = Leases(database, clock)
    _fail(leases, "a", Unavailable("x"))
    clock.now += LIFETIME_SECONDS - 1
    _fail(leases, "a", Unavailable("x"))
    assert leases.seconds_left() == LIFETIME_SECONDS


def test_user_who_wants_the_space_gets_it_but_for_what_is_held(database: Database, clock: Clock) -> None:
    leases = Leases(database, clock)
    _fail(leases, "left", Unavailable("x"))
    with leases.held("held", layers=["one"], partials=[]):
        leases.release_abandoned()
        assert leases.items(Kind.LAYER) == {"one"}
        assert not leases.items(Kind.PARTIAL)


async def test_collection_comes_by_itself_when_a_lease_expires(database: Database) -> None:
    now = Clock()
    leases = Leases(database, now)
    collected = asyncio.Event()

    async def collect() -> None:
        if leases.expire():
            collected.set()

    expiry = Expiry(leases, collect)
    expiry.start()
    try:
        _fail(leases, "a", Unavailable("x"))
        now.now += LIFETIME_SECONDS
        leases.abandoned.set()  # as another pull's end does: the time that is left is read again
        await asyncio.wait_for(collected.wait(), 30)
    finally:
        await expiry.stop()
    assert not leases.items(Kind.LAYER)
