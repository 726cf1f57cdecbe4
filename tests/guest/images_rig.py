"""Archives made entry by entry, and a place to unpack them: shared by the tests of images."""

import io
import json
import tarfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from wherryd.images.unpack.order import Limits
from wherryd.images.unpack.process import Unpacked, Unpacking
from wherryd.snapshots.protocol import UnpackTarget, Whiteouts

Entry = tuple[tarfile.TarInfo, bytes]


def entry(name: str, data: bytes = b"", *, kind: bytes = tarfile.REGTYPE, **fields: Any) -> Entry:
    """One entry; keyword arguments are attributes of TarInfo (mode, uid, linkname, pax_headers, ...)."""
    member = tarfile.TarInfo(name)
    member.type, member.size, member.mtime = kind, len(data), 1_600_000_000
    member.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    for field, value in fields.items():
        setattr(member, field, value)
    return member, data


def directory(name: str, **fields: Any) -> Entry:
    return entry(name, kind=tarfile.DIRTYPE, **fields)


def symlink(name: str, target: str, **fields: Any) -> Entry:
    return entry(name, kind=tarfile.SYMTYPE, linkname=target, **fields)


def hard_link(name: str, target: str) -> Entry:
    return entry(name, kind=tarfile.LNKTYPE, linkname=target)


def archive(*entries: Entry) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for member, data in entries:
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


async def pieces(data: bytes, size: int = 65_536) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def unpack(
    data: bytes,
    target: Path,
    recipe: Path,
    whiteouts: Whiteouts = Whiteouts.OVERLAY,
    limits: Limits | None = None,
) -> Unpacked:
    """Unpacks in the real child. Raises what the engine would."""
    with recipe.open("wb") as file:
        job = await Unpacking.start(UnpackTarget(target, whiteouts), file.fileno(), limits)
        try:
            async for piece in pieces(data):
                await job.feed(piece)
            return await job.finish()
        finally:
            await job.abort()


def saved(config: bytes, layers: Sequence[bytes], names: Sequence[str]) -> bytes:
    """An archive as `docker save` made it before 25: manifest.json alone."""
    members = {"config.json": config}
    for number, layer in enumerate(layers):
        members[f"{number}/layer.tar"] = layer
    manifest = [
        {
            "Config": "config.json",
            "RepoTags": list(names),
            "Layers": [name for name in members if "/" in name],
        }
    ]
    members["manifest.json"] = json.dumps(manifest).encode()
    return archive(*(entry(name, data) for name, data in members.items()))
