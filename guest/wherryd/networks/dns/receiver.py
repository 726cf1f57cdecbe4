"""The thread that receives every resolver's datagrams, and answers those whose answer it has been told.

A question to the event loop costs 0.1 ms on its way there and back, most of it before the first line of ours
runs. This thread waits in epoll(7) for all containers' sockets, and what it answers from is bytes: everything
behind the question's id -> everything behind the answer's. What it does not know goes to the event loop.

    thread      receives, answers from Port.kept, hands on
    event loop  adds and removes ports, keeps answers, sends those it found itself
"""

import asyncio
import contextlib
import logging
import os
import random
import select
import socket
import threading
from collections.abc import Callable

from wherryd.networks.dns.reply import Reply

_log = logging.getLogger(__name__)
#: Of one question. Real ones have under 512.
_MAX_BYTES = 4096
#: Answers kept for one container; with one more, all of them are forgotten.
MAX_KEPT = 256
#: Questions of one container that the event loop has not come to. A flood is dropped; its senders ask again.
MAX_WAITING = 512
_EVENTS = 32
_ID_BYTES = 2

Client = tuple[str, int]
#: (question, who asked), called in the event loop.
Missed = Callable[[bytes, Client], None]


class Port:
    """One resolver's datagram socket. `receiver.remove` closes it."""

    def __init__(self, sock: socket.socket, missed: Missed, revision: Callable[[], int]) -> None:
        """sock: bound, not blocking. revision: another number whenever answers may have changed."""
        self.sock = sock
        #: Held while the thread uses the socket: its descriptor must not become another file's meanwhile.
        self.lock = threading.Lock()
        self._missed = missed
        self._revision = revision
        self._loop = asyncio.get_running_loop()
        self._kept: dict[bytes, Reply] = {}
        self._kept_at = -1
        # Counted by one thread each, so neither needs a lock.
        self._handed_on = 0
        self._taken = 0

    def receive(self) -> None:
        """In the thread: one datagram. One at a time, so that a flood of one container is not all we do."""
        try:
            question, client = self.sock.recvfrom(_MAX_BYTES)
        except OSError:  # nothing there, or closed
            return
        known = self._kept.get(question[_ID_BYTES:]) if self._kept_at == self._revision() else None
        if known is not None:
            self.send(question[:_ID_BYTES] + _turned(known), client)
        elif self._handed_on - self._taken < MAX_WAITING:
            self._handed_on += 1
            with contextlib.suppress(RuntimeError):  # the loop has been closed
                self._loop.call_soon_threadsafe(self._take, question, client)

    def send(self, message: bytes, client: Client) -> None:
        try:
            self.sock.sendto(message, client)
        except OSError as error:  # closed, no room, or a rule in the container's namespace
            _log.debug("resolver: %s", error)

    def keep(self, question: bytes, reply: Reply, revision: int) -> None:
        """In the event loop: for the same question until the revision is another one than before `reply` was
        looked for.
        """
        if self._kept_at != revision or len(self._kept) >= MAX_KEPT:
            self._kept.clear()  # before the thread reads the new number
            self._kept_at = revision
        self._kept[question[_ID_BYTES:]] = reply

    def _take(self, question: bytes, client: Client) -> None:
        self._taken += 1
        self._missed(question, client)


def _turned(reply: Reply) -> bytes:
    """All behind the id, with another record at the head of those that may change places."""
    message, step = reply.message, reply.rotating
    if not step:
        return message[_ID_BYTES:]
    start = reply.fixed
    cut = start + random.randrange((len(message) - start) // step) * step  # noqa: S311 - no secret
    return message[_ID_BYTES:start] + message[cut:] + message[start:cut]


class Receiver:
    """The thread, from the first `add` to `close`. All methods are the event loop's."""

    def __init__(self) -> None:
        self._ports: dict[int, Port] = {}
        self._epoll: select.epoll | None = None
        self._thread: threading.Thread | None = None
        self._end = -1

    def add(self, port: Port) -> None:
        """Raises OSError."""
        epoll = self._started()
        descriptor = port.sock.fileno()
        self._ports[descriptor] = port
        try:
            epoll.register(descriptor, select.EPOLLIN)
        except BaseException:
            del self._ports[descriptor]
            raise

    def remove(self, port: Port) -> None:
        """Closes its socket. Twice is fine."""
        descriptor = port.sock.fileno()
        if self._ports.get(descriptor) is port:
            del self._ports[descriptor]
            if self._epoll is not None:
                self._epoll.unregister(descriptor)
        with port.lock:
            port.sock.close()

    def close(self) -> None:
        """Ends the thread and closes all ports. Twice is fine; an `add` starts again."""
        for port in tuple(self._ports.values()):
            self.remove(port)
        if self._thread is None or self._epoll is None:
            return
        os.eventfd_write(self._end, 1)
        self._thread.join()
        self._epoll.close()
        os.close(self._end)
        self._thread = self._epoll = None

    def _started(self) -> select.epoll:
        if self._epoll is None:
            self._epoll = select.epoll()
            self._end = os.eventfd(0)
            self._epoll.register(self._end, select.EPOLLIN)
            self._thread = threading.Thread(
                target=self._run, args=(self._epoll, self._end), name="resolver", daemon=True
            )
            self._thread.start()
        return self._epoll

    def _run(self, epoll: select.epoll, end: int) -> None:
        while True:
            for descriptor, _ in epoll.poll(maxevents=_EVENTS):
                if descriptor == end:
                    return
                port = self._ports.get(descriptor)
                if port is None:
                    continue
                with port.lock:
                    try:
                        port.receive()
                    except Exception:  # one question must not end the others' names
                        _log.exception("resolver: a question failed")
