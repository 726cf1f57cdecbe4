"""What the installed command runs: `main`, with less of an interpreter's start and end around it.

A call such as `ps` lives for a tenth of a second. Looking for garbage while modules are loaded finds none,
and taking every module apart at the end costs as much as a bare interpreter's start.
"""

import gc
import os
import sys

#: New objects between two looks for garbage; modules of a plain call make fewer.
GARBAGE_THRESHOLD = 50_000


def run() -> None:
    """Never returns."""
    gc.set_threshold(GARBAGE_THRESHOLD)
    if sys.platform == "win32":
        from wherry.cli.terminal._windows import plain_output

        with plain_output():
            status = _status()
    else:
        status = _status()
    if "wherry.cli.machine" in sys.modules:
        sys.exit(status)  # those use libraries that clean up at the end
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        status = status or 1  # the reader has gone: `wherry ps | head -1`
    os._exit(status)


def _status() -> int:
    from wherry.cli.main import main

    try:
        main()
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else 0 if exc.code is None else 1
    return 1
