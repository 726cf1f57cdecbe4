"""`docker top`: the engine's own ps, asked about the container's processes.

Asked without them, it would choose by user and terminal; and the processes' user may be no one's here.
Options of ps that choose by themselves do not go together with that: then the answer is filtered.
"""

import asyncio
import re
from collections.abc import Collection

from wherryd.errors import InvalidParameter, SystemFault

_TIMEOUT_SECONDS = 10.0
_ARGUMENT = re.compile(r"[A-Za-z0-9,=_%.:+-]{1,200}")


async def processes(ps_arguments: str, pids: Collection[int]) -> tuple[list[str], list[list[str]]]:
    """(titles, rows). ps_arguments: as for ps(1), "-ef" when empty. Raises InvalidParameter."""
    arguments = ps_arguments.split() or ["-ef"]
    if any(not _ARGUMENT.fullmatch(argument) for argument in arguments):
        raise InvalidParameter(f"ps_args: {ps_arguments!r} has characters that ps options do not need")
    chosen = "-q" + ",".join(map(str, pids))
    status, out, err = await _ps(*arguments, chosen) if pids else (1, "", "")
    if status != 0:
        status, out, err = await _ps(*arguments)
    if status != 0:
        raise InvalidParameter(f"ps: {err.strip() or status}")
    return parse(out, pids)


async def _ps(*arguments: str) -> tuple[int, str, str]:
    """(exit status, output, errors). Raises SystemFault."""
    process = await asyncio.create_subprocess_exec(
        "ps", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), _TIMEOUT_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise SystemFault(f"ps did not answer in {_TIMEOUT_SECONDS:.0f} s") from None
    return process.returncode or 0, out.decode(errors="replace"), err.decode(errors="replace")


def parse(output: str, pids: Collection[int]) -> tuple[list[str], list[list[str]]]:
    """The rows of ps's output whose PID is wanted. Raises InvalidParameter when there is no PID column."""
    lines = output.splitlines()
    titles = lines[0].split() if lines else []
    if "PID" not in titles:
        raise InvalidParameter("Couldn't find PID field in ps output (hint: ps_args=-o pid,args)")
    column = titles.index("PID")
    wanted = {str(pid) for pid in pids}
    rows = [line.split(None, len(titles) - 1) for line in lines[1:]]
    return titles, [row for row in rows if len(row) > column and row[column] in wanted]
