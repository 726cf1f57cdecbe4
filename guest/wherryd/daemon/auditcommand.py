"""`wherryd audit`: prints what audit.py finds. Exit status 0: all has an owner and is whole; 1: not."""

import argparse
import asyncio
import contextlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from wherryd.daemon.audit import Report, audit
from wherryd.daemon.options import DEFAULT_DATA_ROOT
from wherryd.errors import SystemFault


def run(arguments: Sequence[str]) -> int:
    """The exit status. Raises EngineError."""
    parser = argparse.ArgumentParser(
        prog="wherryd audit",
        description="Lists data below the data root that nobody owns, and images that are not whole. "
        "Changes nothing: starting wherryd, or pruning, removes what nobody owns.",
    )
    parser.add_argument(
        "--data-root", metavar="DIR", default=DEFAULT_DATA_ROOT, help=f"({DEFAULT_DATA_ROOT})"
    )
    parser.add_argument("--verify", action="store_true", help="read every layer back and compare its digest")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of text")
    options = parser.parse_args(arguments)
    root = Path(options.data_root).absolute()
    report = audit(root, verify=options.verify)
    if options.json:
        document = {
            "total_bytes": report.total_bytes,
            "sizes": dict(report.sizes),
            "unowned": [asdict(each) for each in report.unowned],
            "damaged": report.damaged,
        }
        print(json.dumps(document, indent=1))  # noqa: T201
    else:
        _print(report, running=_is_running(root))
    return 0 if report.clean else 1


async def in_a_process(root: Path, verify: bool) -> dict[str, Any]:
    """What `wherryd audit --json` prints, in a process of its own: a walk over all files would hold up the
    engine. Raises SystemFault."""
    command = [sys.executable, "-m", "wherryd.daemon.main", "audit", "--json", "--data-root", str(root)]
    process = await asyncio.create_subprocess_exec(
        *command,
        *(["--verify"] if verify else []),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, problem = await process.communicate()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    try:
        document: dict[str, Any] = json.loads(out)
    except ValueError:
        raise SystemFault(f"the audit ended without a result: {problem.decode(errors='replace')}") from None
    return document


def _is_running(root: Path) -> bool:
    """Without taking the lock, even for a moment: a wherryd that starts just now must get it."""
    try:
        inode = (root / "lock").stat().st_ino
        held = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return False
    return any(f":{inode} " in line and "FLOCK" in line for line in held)


def _print(report: Report, *, running: bool) -> None:
    lines = [f"{name:<16}{_shown(size):>12}" for name, size in sorted(report.sizes.items())]
    lines.append(f"{'total':<16}{_shown(report.total_bytes):>12}")
    lines += [f"unowned: {each.path} ({_shown(each.size_bytes)}): {each.reason}" for each in report.unowned]
    lines += [f"damaged: {sentence}" for sentence in report.damaged]
    if running and report.unowned:
        lines.append("wherryd is running: what it is just making is listed as unowned too")
    sys.stdout.write("\n".join(lines) + "\n")


def _shown(size: int) -> str:
    """Decimal units, as docker's `system df`."""
    amount, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.4g}{unit}"
