"""Wakes the followers of log files when something was written. One inotify descriptor for all of them."""

import asyncio
import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wherryd.errors import KernelFault
from wherryd.sys import inotify

log = logging.getLogger(__name__)

_MASK = inotify.IN_MODIFY | inotify.IN_CREATE | inotify.IN_MOVED_TO | inotify.IN_ONLYDIR

#: How often a follower looks by itself when the kernel has no watch left for it.
POLL_SECONDS = 0.5


class LogWatcher:
    """Watches folders, not files: a rotation replaces the file. `close` may be called twice."""

    def __init__(self) -> None:
        self._fd = -1
        self._wakers: dict[int, set[asyncio.Event]] = {}

    def open(self) -> None:
        self._fd = inotify.inotify_init1()
        asyncio.get_running_loop().add_reader(self._fd, self._read)

    def close(self) -> None:
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _read(self) -> None:
        try:
            buffer = os.read(self._fd, 64 * 1024)
        except BlockingIOError:
            return
        for watch, mask in inotify.events(buffer):
            if mask & inotify.IN_Q_OVERFLOW:
                self._wake_all()
            for event in self._wakers.get(watch, ()):
                event.set()

    def _wake_all(self) -> None:
        for events in self._wakers.values():
            for event in events:
                event.set()

    @contextmanager
    def watch(self, folder: Path) -> Iterator[asyncio.Event]:
        """An event that is set whenever something in the folder was written or came to be."""
        event = asyncio.Event()
        try:
            number = inotify.inotify_add_watch(self._fd, str(folder), _MASK)
        except KernelFault as exc:
            if exc.errno != errno.ENOSPC:
                raise
            log.warning("%s; following by looking every %s s", exc, POLL_SECONDS)
            timer = asyncio.create_task(_tick(event))
            try:
                yield event
            finally:
                timer.cancel()
            return
        self._wakers.setdefault(number, set()).add(event)
        try:
            yield event
        finally:
            self._drop(number, event)

    def _drop(self, number: int, event: asyncio.Event) -> None:
        events = self._wakers[number]
        events.discard(event)
        if events:
            return
        del self._wakers[number]
        try:
            inotify.inotify_rm_watch(self._fd, number)
        except KernelFault as exc:
            if exc.errno not in (errno.EINVAL, errno.EBADF):  # the folder is gone, or we were closed
                raise


async def _tick(event: asyncio.Event) -> None:
    while True:
        await asyncio.sleep(POLL_SECONDS)
        event.set()
