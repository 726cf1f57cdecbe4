"""`wherry build --check`: the engine's rules over a Dockerfile, shown as docker shows them."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from wherry.engine import buildcontext
from wherry.engine.buildcontext import ChunkReader
from wherry.engine.client import EngineClient
from wherry.errors import EngineProblem, UsageProblem

_RULER = "-" * 20
#: Lines around a finding.
_AROUND = 2


def check(
    client: EngineClient,
    source: str,
    dockerfile: str | None,
    out: TextIO,
    platform: str | None = None,
    directive: str | None = None,
) -> int:
    """The exit status: 1 when there are findings. source, dockerfile, platform: as `build` takes them.
    directive: in place of the file's `# check=`."""
    patterns: list[str] = []
    if "-" in (source, dockerfile):
        name, text = "Dockerfile", sys.stdin.buffer.read()
    elif Path(source).is_dir():
        chosen = Path(dockerfile) if dockerfile else None
        name, text, patterns = buildcontext.dockerfile_of(Path(source), chosen)
    else:
        raise UsageProblem(f"--check reads a folder or -, and {source} is neither; name a folder")
    try:
        found = client.call(
            "POST",
            "/build/check",
            {"ignore": json.dumps(patterns), "platform": platform or None, "check": directive or None},
            upload=ChunkReader(iter((text,))),
        ).json()
    except EngineProblem as exc:
        if exc.status in (404, 405):
            raise EngineProblem(
                "this engine has no checks; use one of Wherry's, or docker with BuildKit", status=exc.status
            ) from exc
        raise
    for each in found["Warnings"]:
        out.write(_shown(each, found["Lines"], name))
    count = len(found["Warnings"])
    if not count:
        out.write("Check complete, no warnings found.\n")
    else:
        out.write(f"\nCheck complete, {count} warning{'s have' if count > 1 else ' has'} been found!\n")
    return 1 if count else 0


def _shown(warning: Mapping[str, Any], lines: Sequence[str], name: str) -> str:
    start, end = int(warning["Line"]), int(warning["End"])
    rows = [
        f"{number:4} | {'>>>' if start <= number <= end else '   '} {lines[number - 1]}"
        for number in range(max(1, start - _AROUND), min(len(lines), end + _AROUND) + 1)
    ]
    head = f"\nWARNING: {' - '.join(filter(None, (warning['Rule'], warning['Url'])))}\n"
    head += f"{warning['Detail']}\n{name}:{start}\n"
    return head + "\n".join([_RULER, *rows, _RULER]) + "\n"
