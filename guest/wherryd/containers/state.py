"""The life of a container, as a table. scripts/lifecycle.py makes docs/lifecycle.md of it.

Rules for editing: every pair (status, event) that may happen is a row; a pair that is missing is a
bug or a conflict, never silently ignored. Statuses are the Engine API's own words.
"""

from collections.abc import Mapping
from enum import StrEnum

from wherryd.errors import Conflict


class Status(StrEnum):
    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    EXITED = "exited"
    DEAD = "dead"
    REMOVING = "removing"


class Event(StrEnum):
    START = "start"
    START_FAILED = "start failed"
    DIE = "die"
    DIE_TO_RESTART = "die, to be restarted"
    GIVE_UP = "give up restarting"
    PAUSE = "pause"
    UNPAUSE = "unpause"
    REMOVE = "remove"
    REMOVE_FAILED = "remove failed"


S, E = Status, Event

TRANSITIONS: Mapping[Status, Mapping[Event, Status]] = {
    S.CREATED: {E.START: S.RUNNING, E.START_FAILED: S.CREATED, E.REMOVE: S.REMOVING},
    S.RUNNING: {
        E.DIE: S.EXITED,
        E.DIE_TO_RESTART: S.RESTARTING,
        E.PAUSE: S.PAUSED,
    },
    S.PAUSED: {
        E.UNPAUSE: S.RUNNING,
        E.DIE: S.EXITED,
        E.DIE_TO_RESTART: S.RESTARTING,
    },
    S.RESTARTING: {
        E.START: S.RUNNING,
        E.START_FAILED: S.RESTARTING,
        E.GIVE_UP: S.EXITED,
        E.REMOVE: S.REMOVING,
    },
    S.EXITED: {E.START: S.RUNNING, E.START_FAILED: S.EXITED, E.REMOVE: S.REMOVING},
    # A daemon killed while removing finds its records here and carries on.
    S.REMOVING: {E.REMOVE: S.REMOVING, E.REMOVE_FAILED: S.DEAD},
    S.DEAD: {E.REMOVE: S.REMOVING},
}


def after(status: Status, event: Event) -> Status:
    """The status that follows. Raises Conflict when the event cannot happen in this status."""
    following = TRANSITIONS[status].get(event)
    if following is None:
        raise Conflict(f"a container that is {status} cannot {event}")
    return following
