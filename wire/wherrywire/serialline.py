"""What the guest says on its serial port while it boots.

The guest writes two lines of ours among whatever kernel and systemd print there:

    wherry: booted
    wherry: ready {"version": "0.1.0", "host_key": "SHA256:..."}

``booted`` comes from the first unit of user space; ``ready`` when sshd listens and the engine
answers. The host key's fingerprint reaches the client over this line, which only the hypervisor's
owner can write, so nothing is trusted on first use of the network.
"""

import json
from dataclasses import dataclass

PREFIX = "wherry: "


@dataclass(frozen=True, slots=True)
class Booted:
    """User space has begun."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The guest can be dialled.

    version: of the engine in the box. host_key: fingerprint of the SSH host key (Ed25519) as
    ``ssh-keygen -l`` prints it: ``SHA256:`` and 43 characters of unpadded base64.
    """

    version: str
    host_key: str


SerialEvent = Booted | Ready


def encode(event: SerialEvent) -> str:
    """The line, without a newline."""
    if isinstance(event, Booted):
        return f"{PREFIX}booted"
    return f"{PREFIX}ready {json.dumps({'version': event.version, 'host_key': event.host_key})}"


def parse(line: str) -> SerialEvent | None:
    """What a line of the serial log says; None for the lines of kernel and systemd.

    A console may put escape sequences or a kernel message before our text, so the prefix is searched
    for, not expected at the start. A ready line that is cut off or not ours gives None: the next boot
    stage's time-out then reports it.
    """
    _, found, text = line.partition(PREFIX)
    if not found:
        return None
    word, _, rest = text.strip().partition(" ")
    if word == "booted":
        return Booted()
    if word != "ready":
        return None
    try:
        body = json.loads(rest)
        return Ready(version=str(body["version"]), host_key=str(body["host_key"]))
    except (ValueError, KeyError, TypeError):
        return None
