"""nftables through libnftables, in this process: one call is one atomic transaction.

Why not the `nft` program: starting it costs 10 ms and more per published port, a call here 0.3 to 1 ms.
Why text and not JSON: the JSON form of maps with concatenated values differs between the releases 1.0
and 1.1, the text form does not, and it is what an administrator sees in `nft list table`.
libnftables.so.1 comes with the `nftables` package itself (libnftables(3)).
"""

import ctypes
import threading

from wherryd.errors import SystemFault

_LIBRARY = "libnftables.so.1"
_FUNCTIONS: dict[str, tuple[object, list[object]]] = {
    "nft_ctx_new": (ctypes.c_void_p, [ctypes.c_uint32]),
    "nft_ctx_free": (None, [ctypes.c_void_p]),
    "nft_ctx_buffer_output": (ctypes.c_int, [ctypes.c_void_p]),
    "nft_ctx_buffer_error": (ctypes.c_int, [ctypes.c_void_p]),
    "nft_ctx_get_output_buffer": (ctypes.c_char_p, [ctypes.c_void_p]),
    "nft_ctx_get_error_buffer": (ctypes.c_char_p, [ctypes.c_void_p]),
    "nft_run_cmd_from_buffer": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_char_p]),
}


class NftFault(SystemFault):
    """The kernel or the parser turned a rule set down; nothing of it was applied."""


class Nft:
    """A libnftables context. Any thread may use it, one at a time. Closing twice is fine."""

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL(_LIBRARY)
        except OSError as error:
            raise SystemFault(
                f"cannot load {_LIBRARY}: {error} (hint: install the package nftables)"
            ) from error
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(self._library, name)
            function.restype, function.argtypes = result, arguments
        self._lock = threading.Lock()
        self._context: int | None = self._library.nft_ctx_new(0)
        if not self._context:
            raise SystemFault("libnftables cannot make a context: out of memory")
        self._library.nft_ctx_buffer_output(self._context)
        self._library.nft_ctx_buffer_error(self._context)

    def close(self) -> None:
        with self._lock:
            if self._context is not None:
                self._library.nft_ctx_free(self._context)
                self._context = None

    def run(self, script: str) -> str:
        """Applies the script as one transaction, returns what it prints. Raises NftFault."""
        with self._lock:
            if self._context is None:
                raise SystemFault("the firewall was closed; this is a bug in wherryd")
            status = self._library.nft_run_cmd_from_buffer(self._context, script.encode("ascii"))
            # Both buffers are emptied by reading them; an unread one would show up in the next call.
            output = self._library.nft_ctx_get_output_buffer(self._context).decode()
            said = self._library.nft_ctx_get_error_buffer(self._context).decode().strip()
        if status != 0:
            raise NftFault(f"nftables: {said} (hint: `nft list ruleset` shows what is there)")
        return str(output)
