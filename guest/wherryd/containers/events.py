"""What happened in the engine, for everybody who listens now and for who asks a little later.

Source: Engine API, `GET /events`. The last BACKLOG events are kept for replay. A listener that does
not read is dropped when its queue is full: the engine never waits for it and never grows for it.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

BACKLOG = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineEvent:
    type: str
    action: str
    actor_id: str
    attributes: Mapping[str, str]
    time_ns: int


class Subscription:
    """An endless iterator of events; ends when the reader fell BACKLOG events behind, or at `close`."""

    def __init__(self, bus: "EventBus") -> None:
        self._bus = bus
        self._queue: asyncio.Queue[EngineEvent | None] = asyncio.Queue(BACKLOG + 1)
        #: Whether events were lost because nobody read.
        self.overflowed = False

    def put(self, event: EngineEvent) -> None:
        if self._queue.qsize() >= BACKLOG:
            self.overflowed = True
            self.close()
            return
        self._queue.put_nowait(event)

    def close(self) -> None:
        """No more events after those already queued. Closing twice is fine."""
        if self._bus.forget(self):
            self._queue.put_nowait(None)

    def __aiter__(self) -> "Subscription":
        return self

    async def __anext__(self) -> EngineEvent:
        event = await self._queue.get()
        if event is None:
            raise StopAsyncIteration
        return event


class EventBus:
    def __init__(self) -> None:
        self._backlog: deque[EngineEvent] = deque(maxlen=BACKLOG)
        self._subscriptions: set[Subscription] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.get_ident()

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """Names the loop whose thread may publish directly; others are passed over to it."""
        self._loop = loop
        self._thread = threading.get_ident()

    def publish(self, type_: str, action: str, actor_id: str, attributes: Mapping[str, str]) -> None:
        event = EngineEvent(
            type=type_, action=action, actor_id=actor_id, attributes=dict(attributes), time_ns=time.time_ns()
        )
        if self._loop is not None and threading.get_ident() != self._thread:
            self._loop.call_soon_threadsafe(self._deliver, event)
        else:
            self._deliver(event)

    def _deliver(self, event: EngineEvent) -> None:
        self._backlog.append(event)
        for subscription in tuple(self._subscriptions):
            subscription.put(event)

    def subscribe(self) -> Subscription:
        subscription = Subscription(self)
        self._subscriptions.add(subscription)
        return subscription

    def forget(self, subscription: Subscription) -> bool:
        """Whether it was subscribed until now."""
        known = subscription in self._subscriptions
        self._subscriptions.discard(subscription)
        return known

    @property
    def listeners(self) -> int:
        return len(self._subscriptions)

    def backlog(self) -> tuple[EngineEvent, ...]:
        """The kept events, oldest first. With `subscribe` in the same step nothing is lost or doubled."""
        return tuple(self._backlog)

    def close(self) -> None:
        """Ends every subscription, so that their connections end too."""
        for subscription in tuple(self._subscriptions):
            subscription.close()
