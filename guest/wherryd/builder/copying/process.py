"""Starts the copying child and waits for its answer. A fresh interpreter, since the engine has threads."""

import asyncio
import contextlib
import json
import socket
import sys
from typing import Any

from wherryd.builder.copying.order import CopyOrder, Job
from wherryd.errors import InvalidParameter, SystemFault

_START = """
import sys
sys.path[:] = sys.argv.pop(1).split(":")
from wherryd.builder.copying.child import main
main()
"""


async def carry_out(order: CopyOrder) -> str:
    """The digest that was asked for, or "". Raises InvalidParameter for what the Dockerfile asks wrongly,
    SystemFault."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", "-B", "-X", "utf8", "-c", _START),
                ":".join(entry for entry in sys.path if entry),
                Job(order, theirs.fileno()).encode(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env={"LC_ALL": "C.UTF-8"},
                start_new_session=True,
            )
        finally:
            theirs.close()
        ours.setblocking(False)
        try:
            message = await asyncio.get_running_loop().sock_recv(ours, 128 * 1024)
            status = await process.wait()
        except BaseException:
            # Cancelled: the files it was copying go with their snapshot.
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise
    if not message:
        raise SystemFault(
            f"the copying process ended with status {status} and no result; free memory and retry"
        )
    return _checked(json.loads(message), order.keyword)


def _checked(answer: dict[str, Any], keyword: str) -> str:
    if "error" not in answer:
        return str(answer.get("digest", ""))
    if answer["fault"] == "user":
        raise InvalidParameter(f"{keyword} failed: {answer['error']}")
    raise SystemFault(f"{keyword} failed: {answer['error']}")
