"""`docker top`: the engine's own ps, asked about all and filtered to the container's processes."""

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
    process = await asyncio.create_subprocess_exec(
        "ps", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), _TIMEOUT_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise SystemFault(f"ps did not answer in {_TIMEOUT_SECONDS:.0f} s") from None
    if process.returncode != 0:
        raise InvalidParameter(f"ps: {err.decode(errors='replace').strip() or process.returncode}")
    return parse(out.decode(errors="replace"), pids)


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
