"""The Debian mirror that this host's apt uses; the repository names none."""

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from boxes.errors import BoxError

ENVIRONMENT = "WHERRY_DEBIAN_MIRROR"

#: 'http://mirror/debian/dists/bookworm-updates/InRelease' mirror_debian_dists_... 0
_RELEASE = re.compile(r"^'(?P<uri>[^']+?)/?/dists/(?P<suite>[^/']+)(?:/updates)?/InRelease'")


@dataclass(frozen=True, slots=True)
class Mirror:
    """main: of Debian's packages. security: of the security updates, None when the host has none set."""

    main: str
    security: str | None

    def sources(self, suite: str) -> Sequence[str]:
        """Lines of a sources.list. Signed by Debian's archive keys, which apt knows."""
        lines = [f"deb {self.main} {suite} main", f"deb {self.main} {suite}-updates main"]
        if self.security:
            lines.append(f"deb {self.security} {suite}-security main")
        return lines


def parse(lines: Iterable[str], codename: str) -> Mirror | None:
    """From the lines of `apt-get update --print-uris` on a Debian called codename.

    Many archives have a suite of that name; the one that has its point updates too is Debian's own.
    """
    main = security = None
    for line in lines:
        match = _RELEASE.match(line)
        if match and match["suite"] == f"{codename}-updates":
            main = main or match["uri"]
        elif match and match["suite"] == f"{codename}-security":
            security = security or match["uri"]
    return Mirror(main, security) if main else None


def find() -> Mirror:
    """Raises BoxError: this host is no Debian, or its apt has no Debian mirror."""
    chosen = os.environ.get(ENVIRONMENT)
    if chosen:
        return Mirror(chosen, None)
    release = dict(
        line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line
    )
    mirror = None
    if release.get("ID") == "debian":
        # Prints what would be fetched, and fetches nothing; needs no lists from an earlier update.
        listed = subprocess.run(
            ["apt-get", "update", "--print-uris"],
            capture_output=True,
            text=True,
            check=False,
            env=_plain_locale(),
        )
        mirror = parse(listed.stdout.splitlines(), release.get("VERSION_CODENAME", ""))
    if mirror is None:
        raise BoxError(
            f"apt on this host has no Debian mirror: set {ENVIRONMENT} to the URL of one and run it again"
        )
    return mirror


def _plain_locale() -> dict[str, str]:
    return os.environ | {"LC_ALL": "C.UTF-8"}


def main() -> int:
    """`python3 -m boxes.mirror SUITE`: the lines of a sources.list, for shell scripts."""
    try:
        print("\n".join(find().sources(sys.argv[1])))
    except BoxError as exc:
        print(f"mirror: {exc}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
