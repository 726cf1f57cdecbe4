"""`wherryd`: starts the engine, listens, stops when told to. Containers do not depend on this process.

What is imported when matters here: an engine is idle most of its life, and keeps what it has imported.
"""

import os
import sys
from _operator import _compare_digest  # as hmac has it
from collections.abc import Sequence
from typing import TYPE_CHECKING

from wherryd import later

if TYPE_CHECKING:
    from wherryd.daemon.options import Options


def main(arguments: Sequence[str] | None = None) -> None:
    """The command. The only place that exits."""
    arguments = sys.argv[1:] if arguments is None else arguments
    _put_off()
    from wherryd.errors import EngineError

    try:
        if arguments[:1] == ["audit"]:
            from wherryd.daemon import auditcommand

            sys.exit(auditcommand.run(arguments[1:]))
        if arguments[:1] == ["configure"]:
            from wherryd.daemon import configurecommand

            sys.exit(configurecommand.run(arguments[1:]))
        from wherryd.daemon.options import parse

        options = parse(arguments)
        _set_up_logging(options.debug)
        if os.geteuid() != 0:
            raise EngineError("needs to be started as root (hint: sudo wherryd)")
        _run(options)
    except (EngineError, OSError) as exc:
        print(f"wherryd: {exc}", file=sys.stderr)  # noqa: T201
        sys.exit(1)


def _put_off() -> None:
    """What an engine needs for TLS, for archives and for nothing: 4 MB, and the pages of OpenSSL."""
    later.without_inspect()
    later.stand_in("asyncio.sslproto")
    # asyncio asks of every socket whether it is one of these: none is, as long as nobody has imported ssl.
    later.stand_in("ssl", SSLSocket=type("SSLSocket", (), {}))
    later.stand_in("hmac", compare_digest=_compare_digest)  # secrets wants no more of it
    for name in ("hashlib", "tarfile", "gzip", "bz2", "lzma"):
        later.stand_in(name)


def _run(options: "Options") -> None:
    from wherryd.daemon import serve
    from wherryd.daemon.locks import hold, pidfile
    from wherryd.sys import memory

    # Not the caller's: what containers see (cgroups, files that are mounted into them) is made with it.
    os.umask(0o022)
    _make_roots(options)
    memory.share_one_arena()
    with hold(options.data_root / "lock"), hold(options.exec_root / "lock"), pidfile(options.pidfile):
        serve.run(options)


def _set_up_logging(debug: bool) -> None:
    import logging

    logging.basicConfig(
        level=logging.DEBUG if debug else logging.INFO,
        format="%(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    logging.getLogger("asyncio").setLevel(logging.WARNING)


def _make_roots(options: "Options") -> None:
    """Both roots are for root alone; others may pass through the data root to what is mounted from it."""
    options.data_root.mkdir(mode=0o710, parents=True, exist_ok=True)
    options.exec_root.mkdir(mode=0o711, parents=True, exist_ok=True)
    (options.data_root / "containers").mkdir(mode=0o710, exist_ok=True)
    bundles = options.exec_root / "bundles"
    bundles.mkdir(mode=0o700, exist_ok=True)


if __name__ == "__main__":
    main()
