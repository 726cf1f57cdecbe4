"""Tells systemd how far the engine is: sd_notify(3), a datagram to the socket it names."""

import logging
import os
import socket

log = logging.getLogger(__name__)


def notify(message: str) -> None:
    """Sends `READY=1`, `STOPPING=1`, ...; does nothing when systemd did not ask for it.

    A manager that does not listen any more is no reason to fail: it is logged.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.sendto(message.encode(), address)
    except OSError as exc:
        log.warning("telling systemd %s: %s", message, exc)
