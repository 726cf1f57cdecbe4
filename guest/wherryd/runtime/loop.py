"""The monitor's event loop: epoll, callbacks, timers. One thread, no more than the monitor needs.

Not asyncio: the monitor forks (init, exec), must start in well under a millisecond, and should cost
little memory beside the pages it shares with the zygote.
"""

import heapq
import itertools
import select
import time
import traceback
from collections.abc import Callable

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
HANGUP = select.EPOLLHUP | select.EPOLLERR

Callback = Callable[[int], None]


class Loop:
    """Callbacks get the event mask. `close` closes only the epoll descriptor, not what it watched."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callback] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self.running = True

    def watch(self, fd: int, events: int, callback: Callback) -> None:
        """Watches fd; again with other events changes them. HANGUP is always told."""
        if fd in self._callbacks:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
        self._callbacks[fd] = callback

    def forget(self, fd: int) -> None:
        """Before fd is closed. Done twice is fine."""
        if self._callbacks.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def later(self, seconds: float, callback: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._numbers), callback))

    def run(self) -> None:
        """Until `running` is false. A fault in a callback is written to stderr, and its descriptor is
        watched no more: it must not take the other containers along."""
        while self.running:
            for fd, events in self._epoll.poll(self._timeout()):
                # An earlier callback of this round may have closed it.
                callback = self._callbacks.get(fd)
                if callback is None:
                    continue
                try:
                    callback(events)
                except Exception:
                    traceback.print_exc()
                    self.forget(fd)
            while self._timers and self._timers[0][0] <= time.monotonic():
                try:
                    heapq.heappop(self._timers)[2]()
                except Exception:
                    traceback.print_exc()

    def _timeout(self) -> float:
        if not self._timers:
            return -1
        return max(0.0, self._timers[0][0] - time.monotonic())

    def close(self) -> None:
        self._epoll.close()
