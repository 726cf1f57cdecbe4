"""What differs between the systems the client runs on, behind one set of names.

`_posix` and `_windows` have the same functions; this module picks one, and nothing else in the client
asks which system it is on to reach a lock, a background process or a local socket.
"""

import sys

if sys.platform == "win32":
    from wherry._windows import (
        LocalServer,
        connect_local,
        end_process,
        make_private_folder,
        serve_local,
        spawn_detached,
        try_lock,
    )
else:
    from wherry._posix import (
        LocalServer,
        connect_local,
        end_process,
        make_private_folder,
        serve_local,
        spawn_detached,
        try_lock,
    )

__all__ = [
    "LocalServer",
    "connect_local",
    "end_process",
    "make_private_folder",
    "serve_local",
    "spawn_detached",
    "try_lock",
]
