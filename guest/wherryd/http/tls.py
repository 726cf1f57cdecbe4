"""TLS before a server of plain connections, with half-close in both directions.

asyncio's own TLS ends both directions when the client ends one, and `docker run -i` ends its input with
close_notify and reads on. So each TLS connection is a pair of tasks here, one per direction, between the
client's socket and one end of a socket pair; what serves plain connections gets the other end. What is not
read on one side is not read from the other either: nothing queues in between but a few blocks.

Source: RFC 8446 section 6.1 (close_notify ends one direction), OpenSSL's SSL_shutdown(3).
"""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Final

log = logging.getLogger(__name__)

_BLOCK: Final = 64 * 1024
#: A client that connects and says nothing costs no longer than this.
_HANDSHAKE_SECONDS: Final = 10.0


class TlsFront:
    """Takes TLS connections, and hands plain ones to protocols that the factory makes."""

    def __init__(self, context: "ssl.SSLContext", factory: Callable[[], asyncio.Protocol]) -> None:
        self._context = context
        self._factory = factory

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """For asyncio.start_server: until the connection is over."""
        session = _Session(self._context, reader, writer)
        try:
            async with asyncio.timeout(_HANDSHAKE_SECONDS):
                await session.shake_hands()
            await self._relay(session)
        except (OSError, TimeoutError) as exc:  # ssl.SSLError is an OSError
            log.debug("TLS: %s", exc)
        finally:
            writer.close()

    async def _relay(self, session: "_Session") -> None:
        near, far = socket.socketpair()
        for each in (near, far):
            each.setblocking(False)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(self._factory, far)
        except BaseException:
            near.close()
            far.close()
            raise
        plain_reader, plain_writer = await asyncio.open_connection(sock=near, limit=_BLOCK)
        inward = asyncio.create_task(session.decrypt_into(plain_writer))
        try:
            await session.encrypt_from(plain_reader)
        finally:
            inward.cancel()
            plain_writer.close()
            await asyncio.gather(inward, return_exceptions=True)


class _Session:
    """OpenSSL on memory, between the client's streams and a plain pair. Closing is the caller's."""

    def __init__(
        self, context: "ssl.SSLContext", reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._reader, self._writer = reader, writer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    async def shake_hands(self) -> None:
        """Raises ssl.SSLError for a client that has no certificate of ours; it is told why by an alert."""
        while True:
            try:
                self._object.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                if not await self._receive():
                    raise ConnectionResetError("the client went away in the handshake") from None
            except ssl.SSLError:
                await self._flush()
                raise
            else:
                await self._flush()
                return

    async def decrypt_into(self, target: asyncio.StreamWriter) -> None:
        """What the client sends, until it ends its direction; then the target's input ends too."""
        with contextlib.suppress(OSError):
            is_open = True
            while is_open:
                is_open = self._decrypt(target)
                # An answer of TLS itself: new keys, an alert.
                await self._flush()
                await target.drain()
                is_open = is_open and await self._receive()
        with contextlib.suppress(OSError):
            target.write_eof()
        # Read on, so that a connection that is reset is noticed, and what comes is not kept.
        with contextlib.suppress(OSError):
            while await self._reader.read(_BLOCK):
                pass

    def _decrypt(self, target: asyncio.StreamWriter) -> bool:
        """Whether more may come. Raises ssl.SSLError for what is no TLS."""
        while True:
            try:
                block = self._object.read(_BLOCK)
            except ssl.SSLWantReadError:
                return True
            if not block:
                return False
            target.write(block)

    async def encrypt_from(self, source: asyncio.StreamReader) -> None:
        """What the server answers, until it closes; then the client is told so."""
        while block := await source.read(_BLOCK):
            self._object.write(block)
            await self._flush()
        # The first half says close_notify; the second would wait for the client's.
        with contextlib.suppress(ssl.SSLError):
            self._object.unwrap()
        await self._flush()

    async def _receive(self) -> bool:
        block = await self._reader.read(_BLOCK)
        self._incoming.write(block)
        return bool(block)

    async def _flush(self) -> None:
        if data := self._outgoing.read():
            self._writer.write(data)
        await self._writer.drain()
