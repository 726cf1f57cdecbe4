"""Blocking producers for asynchronous readers."""

import asyncio
from collections.abc import AsyncIterator, Generator


async def iterate(
    pieces: Generator[bytes, None, None], batch_bytes: int = 1024 * 1024
) -> AsyncIterator[bytes]:
    """The same bytes, in larger pieces made in a thread. Closes the generator, also when left early."""
    try:
        while data := await asyncio.to_thread(_batch, pieces, batch_bytes):
            yield data
    finally:
        pieces.close()


def _batch(pieces: Generator[bytes, None, None], size: int) -> bytes:
    batch: list[bytes] = []
    length = 0
    for piece in pieces:
        batch.append(piece)
        length += len(piece)
        if length >= size:
            break
    return b"".join(batch)
