"""`POST /wherry/datagrams`: a stream of UDP datagrams to a published port, for the host agent. No part of
Docker's API; the form of the stream is wherrywire.datagrams'."""

import contextlib
import ipaddress
import logging
from typing import Any

from wherryd.api import hijack
from wherryd.errors import InvalidParameter
from wherryd.http import web
from wherryd.networks.datagrams import DatagramRelay
from wherrywire import datagrams

_log = logging.getLogger(__name__)
_READ_BYTES = 1 << 16
#: Answers beyond this wait for an agent that does not read: they are dropped, as a full socket drops them.
_MAX_WAITING_BYTES = 1 << 20


async def _relay(request: web.Request) -> web.StreamResponse:
    target = _target(request)
    connection = await hijack.take_over(request, hijack.RAW)
    transport = connection.writer.transport

    def answer(frame: bytes) -> None:
        if not transport.is_closing() and transport.get_write_buffer_size() < _MAX_WAITING_BYTES:
            transport.write(frame)

    relay = DatagramRelay(target, answer)
    decoder = datagrams.Decoder()
    try:
        with contextlib.suppress(ConnectionError):
            while data := await connection.reader.read(_READ_BYTES):
                for datagram in decoder.feed(data):
                    relay.received(datagram)
    except OSError as error:
        _log.warning("datagrams to %s port %d: %s", *target, error)
    finally:
        relay.close()
        connection.close()
    return hijack.HijackedResponse()


def _target(request: web.Request) -> tuple[str, int]:
    host, port = request.query.get("host", "127.0.0.1"), request.query.get("port", "")
    try:
        address = str(ipaddress.ip_address(host))
    except ValueError as error:
        raise InvalidParameter(f"host: {host!r} is not an address") from error
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise InvalidParameter(f"port: {port!r} is not a number from 1 to 65535")
    return address, int(port)


def routes() -> list[web.RouteDef]:
    handler: Any = _relay
    return [web.post(datagrams.TARGET, handler)]
