"""Starts the fetching child and hands on what it writes. A build that ends early ends it."""

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import sys
from collections.abc import AsyncGenerator
from dataclasses import asdict
from pathlib import Path

from wherryd.builder.git.address import GitSource
from wherryd.errors import InvalidParameter, SystemFault

_START = """
import sys
sys.path[:] = sys.argv.pop(1).split(":")
from wherryd.builder.git.child import main
main()
"""
_CHUNK_BYTES = 1024 * 1024
#: What the child may know of our environment: how to reach the network.
_PASSED = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE")


async def archive(source: GitSource, folder: Path) -> AsyncGenerator[bytes, None]:
    """The tree as a tar stream. folder: the build's own, for the objects meanwhile.

    Raises InvalidParameter for what is wrong with the address, the repository or the way to it.
    """
    work = folder / f"git-{secrets.token_hex(8)}"
    work.mkdir()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-B", "-X", "utf8", "-c", _START),
        ":".join(entry for entry in sys.path if entry),
        json.dumps({**asdict(source), "work": str(work)}),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={
            "LC_ALL": "C.UTF-8",
            "HOME": str(work),
            **{name: os.environ[name] for name in _PASSED if name in os.environ},
        },
        start_new_session=True,
    )
    assert process.stdout is not None, "asked for above"  # noqa: S101
    assert process.stderr is not None, "asked for above"  # noqa: S101
    said = asyncio.create_task(process.stderr.read())
    try:
        while data := await process.stdout.read(_CHUNK_BYTES):
            yield data
        status = await process.wait()
        if status:
            _complain(await said, status)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        said.cancel()
        await asyncio.to_thread(shutil.rmtree, work, ignore_errors=True)


def _complain(said: bytes, status: int) -> None:
    try:
        answer = json.loads(said)
        text = str(answer["error"])
    except (ValueError, KeyError, TypeError):
        raise SystemFault(
            f"fetching from git ended with status {status}: {said.decode(errors='replace')[-500:]}"
        ) from None
    raise InvalidParameter(text)
