"""paramiko's Transport with the two things it lacks for us: channels to a unix socket of the guest, and
channels that tell an event loop when they can be read or written, so that an idle one costs no thread.

In: opening channels, wake-ups. Out: dialling and keys (`dial`), what the bytes mean.
"""

import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar

import paramiko
from paramiko.common import (
    MSG_CHANNEL_WINDOW_ADJUST,
    cMSG_CHANNEL_OPEN,
)

#: How much a channel may hold that its reader has not taken yet. Twice OpenSSH's default, because an
#: emulated guest answers slowly and the window bounds what can be under way.
WINDOW_BYTES = 4 * 1024 * 1024

#: Largest packet we take. OpenSSH itself takes 32 KiB but sends up to what the other side allows; fewer,
#: larger packets cost less Python per byte.
PACKET_BYTES = 128 * 1024


WAIT_SECONDS = 0.2


class TunnelChannel(paramiko.Channel):
    """A channel that calls `on_writable` when the guest has made room. Any thread may make that call."""

    on_writable: Callable[[], None] | None = None

    def _window_adjust(self, m: paramiko.Message) -> None:
        super()._window_adjust(m)  # type: ignore[misc]  # not in the stubs
        if self.on_writable is not None:
            self.on_writable()

    def notify_readable(self, notify: Callable[[], None]) -> None:
        """`notify` is called, from any thread, when there is something to read: data, end of file, or the
        end of the channel. Once called, it is called again only after the buffer has been emptied.
        """
        event: Any = _Notifier(notify)  # quacks like the threading.Event that the pipe expects
        self.in_buffer.set_event(event)

    @property
    def has_data(self) -> bool:
        return bool(self.in_buffer.read_ready())

    @property
    def at_end(self) -> bool:
        """Whether the guest sends no more. Data that came before may still wait in the buffer."""
        return bool(self.eof_received or self.closed)


class _Notifier:
    """Stands in for a threading.Event: `set` calls instead of waking a waiter."""

    def __init__(self, notify: Callable[[], None]) -> None:
        self._notify = notify
        self._set = False

    def set(self) -> None:
        if not self._set:
            self._set = True
            self._notify()

    def clear(self) -> None:
        self._set = False

    def is_set(self) -> bool:
        return self._set


def _dispatch_window_adjust(channel: paramiko.Channel, message: paramiko.Message) -> None:
    channel._window_adjust(message)  # type: ignore[attr-defined]  # the table would name the base class's


class TunnelTransport(paramiko.Transport):
    """A client's transport. `open_streamlocal` and `open_tcp` give TunnelChannels."""

    _channel_handler_table: ClassVar[dict[int, Any]] = {
        **paramiko.Transport._channel_handler_table,  # type: ignore[attr-defined]
        MSG_CHANNEL_WINDOW_ADJUST: _dispatch_window_adjust,
    }

    def open_streamlocal(self, path: str, *, timeout_seconds: float) -> TunnelChannel:
        """A channel to a unix socket in the guest.

        Source: OpenSSH's PROTOCOL, section 2.4, "direct-streamlocal@openssh.com": the socket's path, a
        reserved string, a reserved 32-bit number. Raises paramiko.SSHException.
        """

        def describe(message: paramiko.Message) -> None:
            message.add_string(path)
            message.add_string("")
            message.add_int(0)

        return self._open("direct-streamlocal@openssh.com", describe, timeout_seconds)

    def open_tcp(self, host: str, port: int, *, timeout_seconds: float) -> TunnelChannel:
        """A channel to a TCP port as the guest sees it. Source: RFC 4254, section 7.2."""

        def describe(message: paramiko.Message) -> None:
            message.add_string(host)
            message.add_int(port)
            message.add_string("127.0.0.1")
            message.add_int(0)

        return self._open("direct-tcpip", describe, timeout_seconds)

    def _open(
        self, kind: str, describe: Callable[[paramiko.Message], None], timeout_seconds: float
    ) -> TunnelChannel:
        """What Transport.open_channel does, with a channel of our class and our own fields at the end.

        paramiko has no door for another channel type, so this follows its bookkeeping (the same from 2.x
        to 5.x): register the channel and its event under the lock, send, wait for the answer.
        """
        inner: Any = self
        if not self.is_active():
            raise paramiko.SSHException("the connection to the guest is down")
        answered = threading.Event()
        with inner.lock:
            number = inner._next_channel()
            message = paramiko.Message()
            message.add_byte(cMSG_CHANNEL_OPEN)
            message.add_string(kind)
            message.add_int(number)
            message.add_int(WINDOW_BYTES)
            message.add_int(PACKET_BYTES)
            describe(message)
            channel: Any = TunnelChannel(number)
            inner._channels.put(number, channel)
            inner.channel_events[number] = answered
            inner.channels_seen[number] = True
            channel._set_transport(self)
            channel._set_window(WINDOW_BYTES, PACKET_BYTES)
        inner._send_user_message(message)
        deadline = time.monotonic() + timeout_seconds
        # In short waits: a connection that dies before the event was registered never sets it.
        while not answered.wait(WAIT_SECONDS) and self.is_active():
            if time.monotonic() >= deadline:
                inner._unlink_channel(number)
                raise paramiko.SSHException(f"no answer from the guest in {timeout_seconds:g} s")
        # `active` is set by the answer "success" and by nothing else. The map of channels would not do: a
        # guest that says a word and hangs up at once has taken the channel out of it again.
        if not channel.active:
            raise self.get_exception() or paramiko.SSHException("the guest refused the channel")
        assert isinstance(channel, TunnelChannel)  # noqa: S101 - narrows Any
        return channel
