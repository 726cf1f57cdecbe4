"""`python -m bench [section ...]`: runs the sections and writes docs/benchmarks.md."""

import datetime
import importlib
import os
import platform
import sys
from pathlib import Path

from wherrywire import __version__

SECTIONS = ("machine", "client", "starts", "engines", "memory", "runtimes", "seccomp", "pull", "builder")
PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"


def head() -> str:
    """What was measured where; no name or path of the machine."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    today = datetime.datetime.now(datetime.UTC).date()
    return (
        "# Benchmarks\n\n"
        "Written by `make bench`; run it on your own machine, absolute figures depend on it.\n\n"
        f"Wherry {__version__}, {today}. Host: Linux {platform.release().split('-')[0]}, "
        f"{os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}.\n"
    )


def main() -> None:
    wanted = sys.argv[1:] or SECTIONS
    parts = [head()]
    for name in wanted:
        if name not in SECTIONS:
            sys.exit(f"bench: no section {name!r}; there are {', '.join(SECTIONS)}")
        print(f"bench: {name}", file=sys.stderr, flush=True)
        parts.append(importlib.import_module(f"bench.{name}").report())
    text = "\n".join(parts)
    if set(wanted) == set(SECTIONS):
        PAGE.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
