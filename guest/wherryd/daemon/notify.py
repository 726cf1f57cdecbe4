"""Tells systemd how far the engine is: sd_notify(3), a datagram to the socket it names."""

import os
import socket


def notify(message: str) -> None:
    """Sends `READY=1`, `STOPPING=1`, ...; does nothing when systemd did not ask for it."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.sendto(message.encode(), address)
