"""What client and guest must agree on, byte for byte.

In: framing of streams, JSON lines, the machine's ready line, the version.
Out: sockets, processes, third-party imports. Everything here takes bytes and gives values, or the
other way round, so that both sides and the tests can use it however they do their I/O.
"""

from wherrywire.version import __version__

__all__ = ["__version__"]
