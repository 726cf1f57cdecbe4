"""The process that carries out one order on a container's files: fresh interpreter, one thread, no way out.

Descriptors: 0 the archive that comes in, 1 the archive that goes out, `control` a SOCK_SEQPACKET socket. On
it go one JSON document when the path was found ({"stat": {...}}), and one at the end: {} or
{"error": text, "fault": name}.
"""

import errno
import json
import os
import posixpath
import resource
import socket
import sys
import tarfile
from collections.abc import Callable
from typing import Any

from wherryd.containers.archive import lookup, view
from wherryd.containers.archive.errors import CopyFault, Fault, missing, wish
from wherryd.containers.archive.extract import Extraction, Target
from wherryd.containers.archive.order import ArchiveOrder, Job, Verb, ViewOrder
from wherryd.containers.archive.pack import PackedSink, PipeSink, pack, tree
from wherryd.errors import EngineError, InvalidParameter, KernelFault
from wherryd.images.entries import EntryWriter, encoded
from wherryd.images.unpack.errors import ArchiveError
from wherryd.images.unpack.order import Limits
from wherryd.images.unpack.reader import TarReader, open_stream
from wherryd.spec import users
from wherryd.sys import paths
from wherryd.sys.filesystems import KERNEL_FILESYSTEMS, statfs_type

_MAX_MEMORY_BYTES = 3 * 1024**3


def main() -> None:
    job = Job.decode(sys.argv[1])
    control = socket.socket(fileno=job.control)
    try:
        _VERBS[job.order.verb](job.order, control)
        answer = {}
    except BaseException as exc:
        answer = _failure(exc)
    _send(control, answer)
    # Without the interpreter's farewell, which would look for modules in the container.
    os._exit(0)


def _failure(error: BaseException) -> dict[str, str]:
    if isinstance(error, CopyFault):
        return {"error": str(error), "fault": error.fault}
    if isinstance(error, ArchiveError | tarfile.TarError | UnicodeError | InvalidParameter):
        return {"error": str(error), "fault": Fault.WISH}
    if isinstance(error, OSError | KernelFault):
        # EPERM, EACCES: it is the kernel's, as /proc of a container that runs, or may not be changed.
        refused = error.errno in (errno.EROFS, errno.EPERM, errno.EACCES)
        fault = Fault.READ_ONLY if refused else Fault.SYSTEM
        words = error.strerror if isinstance(error, OSError) else ""
        return {"error": words or str(error), "fault": fault}
    if isinstance(error, EngineError):
        return {"error": str(error), "fault": Fault.SYSTEM}
    # A traceback could not be printed: it would read source files below the container's root.
    return {"error": f"{type(error).__name__}: {error}", "fault": Fault.SYSTEM}


def _send(control: socket.socket, document: dict[str, Any]) -> None:
    control.send(json.dumps(document)[:100_000].encode())


def _prepare(*, decoders: bool = False) -> None:
    """What must be there before the view is entered: codecs, limits, and decoders for who unpacks."""
    if decoders:
        import bz2  # noqa: F401
        import lzma  # noqa: F401

        import zstandard  # noqa: F401
        from isal import igzip  # noqa: F401

    odd = tarfile.TarInfo("é\udcff" * 200)
    odd.mtime = 1.5
    encoded(odd)
    os.umask(0)
    for which, value in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_AS, _MAX_MEMORY_BYTES)):
        _, hard = resource.getrlimit(which)
        if hard == resource.RLIM_INFINITY or value < hard:
            resource.setrlimit(which, (value, value))
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    sys.setrecursionlimit(5000)  # a path of 4095 bytes has up to 2048 components


def _find(order: ArchiveOrder, root: int) -> tuple[str, int, dict[str, Any]]:
    path = lookup.absolute(order.path)
    if "\0" in path:
        raise wish("path: a zero byte is in no name")
    target = lookup.opened(root, path)
    if path != "/" and statfs_type(target) in KERNEL_FILESYSTEMS:
        raise wish(f"{path} belongs to the kernel and cannot be copied; read it with exec")
    return path, target, lookup.path_stat(root, path, target)


def _stat(order: ArchiveOrder, control: socket.socket) -> None:
    _prepare()
    _, _, document = _find(order, view.enter(order.view, writing=False))
    _send(control, {"stat": document})


def _sink(order: ArchiveOrder) -> PipeSink | PackedSink:
    return PackedSink(1, order.coding) if order.coding else PipeSink(1)


def _pack(order: ArchiveOrder, control: socket.socket) -> None:
    _prepare()
    sink = _sink(order)
    root = view.enter(order.view, writing=False)
    path, target, document = _find(order, root)
    _send(control, {"stat": document})
    pack(root, path, target, EntryWriter(sink))
    sink.finish()


def _export(order: ArchiveOrder, control: socket.socket) -> None:
    _prepare()
    sink = _sink(order)
    root = view.enter_layers(order.view)
    _send(control, {"stat": {}})
    writer = EntryWriter(sink)
    tree(root, writer, "", lambda _path: False)
    writer.end()
    sink.finish()


def _extract(order: ArchiveOrder, control: socket.socket) -> None:
    _prepare(decoders=True)
    root = view.enter(order.view, writing=True)
    path = lookup.absolute(order.path)
    target = _directory(order.view, root, path)
    owner = _owner(order.owner, root) if order.owner else None
    _send(control, {"stat": {}})
    try:
        source = open_stream(0)
    except ArchiveError:
        return  # nothing at all came: there is nothing to do, as dockerd sees it
    reader = TarReader(source, lambda _data: None, Limits().bytes, hashed=False)
    Extraction(target, reader, no_overwrite=order.no_overwrite, owner=owner).run()


def _directory(order: ViewOrder, root: int, path: str) -> Target:
    """Where to extract: an existing directory that can be written to. Raises CopyFault."""
    real = lookup.resolved(root, path)
    try:
        fd = paths.openat2(root, real.lstrip("/") or ".", paths.O_PATH, 0, paths.RESOLVE_IN_ROOT)
    except KernelFault as exc:
        if exc.errno in (errno.ENOENT, errno.ENOTDIR):
            raise missing(path) from exc
        raise
    try:
        if not paths.is_directory(fd):
            raise wish("extraction point is not a directory")
        if words := view.refusal(order, fd, real):
            raise CopyFault(Fault.READ_ONLY, words)
    finally:
        os.close(fd)
    return Target(root, real, posixpath.normpath(path))


def _owner(text: str, root: int) -> tuple[int, int]:
    passwd = paths.read_small_file(root, "/etc/passwd", limit_bytes=users.MAX_FILE_BYTES) or b""
    group = paths.read_small_file(root, "/etc/group", limit_bytes=users.MAX_FILE_BYTES) or b""
    user = users.resolve(text, passwd, group)
    return user.uid, user.gid


_VERBS: dict[Verb, Callable[[ArchiveOrder, socket.socket], None]] = {
    Verb.STAT: _stat,
    Verb.PACK: _pack,
    Verb.EXTRACT: _extract,
    Verb.EXPORT: _export,
}

if __name__ == "__main__":
    main()
