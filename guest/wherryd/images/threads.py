"""Blocking producers for asynchronous readers."""

import asyncio
from collections.abc import AsyncGenerator, Generator


async def iterate(
    pieces: Generator[bytes, None, None], batch_bytes: int = 1024 * 1024
) -> AsyncGenerator[bytes, None]:
    """The same bytes, in larger pieces made in a thread. Closes the generator, also when left early."""
    try:
        while data := await _in_thread(pieces, batch_bytes):
            yield data
    finally:
        pieces.close()


async def _in_thread(pieces: Generator[bytes, None, None], size: int) -> bytes:
    """Cancelled, it still waits for its thread: a generator that runs cannot be closed."""
    work = asyncio.ensure_future(asyncio.to_thread(_batch, pieces, size))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        raise


def _batch(pieces: Generator[bytes, None, None], size: int) -> bytes:
    batch: list[bytes] = []
    length = 0
    for piece in pieces:
        batch.append(piece)
        length += len(piece)
        if length >= size:
            break
    return b"".join(batch)
