"""The process that carries out one COPY, ADD or WORKDIR: a fork of one that knows nothing (server.py), with
the image's files as its root.

On `job`, a SOCK_STREAM socket, it reads its order up to the end, and sends one JSON document:
{"digest": text} or {"error": text, "fault": "user" | "system"}.
"""

import contextlib
import json
import os
import posixpath
import resource
import signal
import socket
import sys
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from wherryd.builder.copying import digest, merging, modes, sources
from wherryd.builder.copying.errors import CopyError
from wherryd.builder.copying.order import CopyOrder, Digest, Part, decode
from wherryd.builder.copying.tree import Copier, Rules
from wherryd.errors import EngineError, InvalidParameter
from wherryd.images.unpack.errors import ArchiveError
from wherryd.images.unpack.extract import Extractor
from wherryd.images.unpack.order import Limits
from wherryd.images.unpack.reader import TarReader, open_stream
from wherryd.images.unpack.recipe import RecipeWriter
from wherryd.runtime import mounting
from wherryd.spec import users
from wherryd.sys import capabilities, mounts, namespaces, paths, process
from wherrywire.dockerignore import BadPattern, Matcher

#: Making files with any owner, mode and type; nothing to mount with once the root has changed.
_CAPABILITIES = ("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_MKNOD", "CAP_SETFCAP")
_HARMLESS = mounts.MS_NODEV | mounts.MS_NOSUID | mounts.MS_NOEXEC
_ORDER_BYTES = 64 * 1024
_MAX_MEMORY_BYTES = 3 * 1024**3


def run(job: socket.socket, server: int) -> NoReturn:
    """server: the process that this one is to end with."""
    process.prctl(process.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != server:
        os._exit(1)
    os.setsid()
    data = b""
    while more := job.recv(_ORDER_BYTES):
        data += more
    if not data:
        os._exit(1)  # the engine does not want it any more
    answer: dict[str, str] = {}
    try:
        answer = {"digest": _carry_out(decode(data))}
    except (CopyError, BadPattern, ArchiveError, tarfile.TarError, InvalidParameter) as exc:
        answer = {"error": str(exc), "fault": "user"}
    except OSError as exc:
        where = f" {exc.filename}" if exc.filename else ""
        answer = {"error": f"{exc.strerror}{where}", "fault": "system"}
    except EngineError as exc:
        answer = {"error": str(exc), "fault": "system"}
    except BaseException as exc:
        # A traceback could not be printed: its source files are not below this root.
        answer = {"error": f"{type(exc).__name__}: {exc}", "fault": "system"}
    with contextlib.suppress(OSError):  # nobody listens any more
        job.sendall(json.dumps(answer).encode())
    os._exit(0)


def _carry_out(order: CopyOrder) -> str:
    """The digest that is wanted, or ""."""
    if any(part.unpack for part in order.parts):
        # Decoders are found now, or never: there are no modules below the image's root.
        import bz2  # noqa: F401
        import lzma  # noqa: F401

        import zstandard  # noqa: F401
        from isal import igzip  # noqa: F401
    nowhere = os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
    os.umask(0)
    namespaces.unshare(namespaces.CLONE_NEWNS)
    mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
    names = merging.read_list(Path(order.merge).read_bytes()) if order.merge else []
    image = _open_image(order)
    opened = [
        _Opened(part, paths.open_root(part.directory) if part.directory else image) for part in order.parts
    ]
    _enter(order)
    root = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    if order.digest == Digest.ONLY:
        return _digest(order, root)
    copier = Copier(root, _rules(order, root))
    if order.merge:
        merging.Merge(copier, image).run(names)
    elif opened or order.inline:
        _copy(order, copier, opened, nowhere)
    else:
        fd, _ = copier.directory(order.destination, 0)
        os.close(fd)
    copier.finish()
    return _digest(order, image) if order.digest else ""


def _digest(order: CopyOrder, root: int) -> str:
    """Of what is copied out of an image, whose files keep their owners unless --chown names one."""
    found, _ = digest.of_sources(
        root, order.parts[0].patterns, order.excludes, parents=order.parents, context=False,
        owners=order.keep_owner,
    )  # fmt: skip
    return found


@dataclass(frozen=True, slots=True)
class _Opened:
    """root: of the part's files."""

    part: Part
    root: int


def _open_image(order: CopyOrder) -> int:
    """A descriptor of the root of source_mounts, or -1. It stays good when the mounts around it have gone."""
    if not order.source_mounts:
        return -1
    mounting.mount_root(order.mount_point, order.source_mounts)
    return paths.open_root(order.mount_point)


def _enter(order: CopyOrder) -> None:
    mounting.mount_root(order.mount_point, order.root)
    os.chdir(order.mount_point)
    mounts.mount(None, ".", None, mounts.MS_REMOUNT | mounts.MS_BIND | _HARMLESS)
    sys.path.clear()
    sys.meta_path.clear()
    mounts.pivot_root(".", ".")
    mounts.umount2(".", mounts.MNT_DETACH)
    os.chdir("/")
    keep = capabilities.mask(_CAPABILITIES)
    process.prctl(process.PR_SET_NO_NEW_PRIVS, 1)
    capabilities.drop_bounding_set(keep)
    capabilities.capset(effective=keep, permitted=keep, inheritable=0)
    for which, value in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_AS, _MAX_MEMORY_BYTES)):
        _, hard = resource.getrlimit(which)
        if hard == resource.RLIM_INFINITY or value < hard:
            resource.setrlimit(which, (value, value))
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))


def _rules(order: CopyOrder, root: int) -> Rules:
    owner = None if order.keep_owner else (0, 0)
    if order.chown:
        owner = _owner(order.chown, root)
    return Rules(
        owner=owner,
        mode=modes.parse(order.chmod) if order.chmod else None,
        excluded=Matcher(order.excludes) if order.excludes else None,
    )


def _owner(text: str, root: int) -> tuple[int, int]:
    """ "user:group"; without a group the user's number serves for both. Source: reference, "COPY --chown"."""
    passwd = paths.read_small_file(root, "/etc/passwd", limit_bytes=users.MAX_FILE_BYTES) or b""
    group = paths.read_small_file(root, "/etc/group", limit_bytes=users.MAX_FILE_BYTES) or b""
    user = users.resolve(text, passwd, group)
    return (user.uid, user.gid if ":" in text else user.uid)


def _copy(order: CopyOrder, copier: Copier, opened: Sequence[_Opened], nowhere: int) -> None:
    found = [
        (each, pattern, path)
        for each in opened
        for pattern in each.part.patterns
        for path in _found(order, each, pattern, copier.rules.excluded)
    ]
    if len(found) + len(order.inline) > 1 and not order.destination.endswith("/"):
        raise CopyError(
            f"When using {order.keyword} with more than one source file, the destination must be a directory "
            "and end with a /"
        )
    for each, pattern, path in found:
        destination = order.destination
        if order.parents:
            destination = _below_parents(each.root, pattern, path, destination)
        if each.part.unpack and _unpacked(copier, each.root, path, destination, nowhere):
            continue
        copier.copy(each.root, path, destination)
    for file in order.inline:
        copier.write(file.text.encode("utf-8", "surrogateescape"), file.name, order.destination)


def _found(order: CopyOrder, opened: _Opened, pattern: str, excluded: Matcher | None) -> list[str]:
    return sources.find(
        sources.OnDisk(opened.root),
        pattern,
        context=bool(opened.part.directory),
        deep=order.parents,
        excluded=excluded,
    )


def _below_parents(source: int, pattern: str, path: str, destination: str) -> str:
    """--parents: the source's folders, from the "/./" in it on, are made below the destination."""
    with paths.opened(source, path) as fd:
        folder = path if paths.is_directory(fd) else posixpath.dirname(path)
    return posixpath.join(destination, sources.below_pivot(pattern, folder)) + "/"


def _unpacked(copier: Copier, source: int, path: str, destination: str, nowhere: int) -> bool:
    """Whether the source is an archive; its files are in the destination then. Source: reference, "ADD"."""
    with paths.opened(source, path) as fd:
        if paths.is_directory(fd):
            return False
    archive = paths.open_in_root(source, path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        if not _is_archive(archive):
            return False
        os.lseek(archive, 0, os.SEEK_SET)
        target, _ = copier.directory(destination, os.fstat(archive).st_mtime_ns)
        _extract(archive, target, nowhere)
        os.close(target)
    finally:
        os.close(archive)
    return True


def _is_archive(fd: int) -> bool:
    try:
        block = b""
        stream = open_stream(fd)
        while len(block) < tarfile.BLOCKSIZE and (data := stream.read(tarfile.BLOCKSIZE - len(block))):
            block += data
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (ArchiveError, tarfile.TarError):
        return False
    return True


def _extract(archive: int, target: int, nowhere: int) -> None:
    """nowhere: takes the recipe, which nobody needs: the layer that comes of it gets one of its own."""
    limits = Limits()
    recipe = RecipeWriter(nowhere)
    reader = TarReader(open_stream(archive), recipe.raw, limits.bytes)
    Extractor(reader, recipe, target, overlay=False, mark_opaque=lambda _fd: None, limits=limits).run()
