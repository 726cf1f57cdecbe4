"""`python -m bench [section ...]`: runs these sections, or all, and puts them into docs/benchmarks.md.

A section that is not run stays as it was measured before; each says when and where that was.
"""

import compileall
import datetime
import importlib
import os
import platform
import re
import sys
from pathlib import Path

import wherry
import wherryd
import wherrywire
from wherrywire import __version__

SECTIONS = (
    "machine",
    "client",
    "starts",
    "engines",
    "memory",
    "runtimes",
    "seccomp",
    "pull",
    "builder",
    "networks",
)
PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
HEAD = (
    "# Benchmarks\n\n"
    "Written by `make bench`; run it on your own machine, absolute figures depend on it. What is compared "
    "was measured in one run, in turn.\n"
)
_MARK = re.compile(r"<!-- section: (\w+) -->\n(.*?)(?=<!-- section: |\Z)", re.DOTALL)


def circumstances() -> str:
    """What was measured where, in one line; no name or path of the machine."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    today = datetime.datetime.now(datetime.UTC).date()
    return (
        f"*Wherry {__version__}, {today}; Linux {platform.release().split('-')[0]}, {os.cpu_count()} cores, "
        f"{memory:.0f} GiB, Python {platform.python_version()}; load before: {os.getloadavg()[0]:.1f}.*"
    )


def page(sections: dict[str, str]) -> str:
    parts = [f"<!-- section: {name} -->\n{sections[name].strip()}\n" for name in SECTIONS if name in sections]
    return "\n".join([HEAD, *parts])


def compile_packages() -> None:
    """As an installed package is: helper processes that read sources would compile them each time."""
    for package in (wherry, wherryd, wherrywire):
        compileall.compile_dir(str(Path(package.__path__[0])), quiet=1)


def main() -> None:
    wanted = sys.argv[1:] or SECTIONS
    unknown = [name for name in wanted if name not in SECTIONS]
    if unknown:
        sys.exit(f"bench: no section {unknown[0]!r}; there are {', '.join(SECTIONS)}")
    compile_packages()
    for name in wanted:
        print(f"bench: {name}", file=sys.stderr, flush=True)
        line = circumstances()
        report = f"{line}\n\n{importlib.import_module(f'bench.{name}').report()}"
        print(report, flush=True)
        # After each section: a run that is cut short keeps what it has measured.
        known = dict(_MARK.findall(PAGE.read_text())) if PAGE.exists() else {}
        PAGE.write_text(page({**known, name: report}))


if __name__ == "__main__":
    main()
