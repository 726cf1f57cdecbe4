"""The process that unpacks one layer: fresh interpreter, one thread, the layer's directory as its root.

Descriptors: 0 the archive, `control` a SOCK_SEQPACKET socket to the engine, `recipe` a file to write to.
On the socket go a descriptor per opaque directory (message "o") and at last one JSON document: the
result, or {"error": text, "fault": "archive" | "system"}.
"""

import json
import os
import resource
import socket
import sys
import tarfile

from wherryd.errors import EngineError
from wherryd.images.unpack.errors import ArchiveError
from wherryd.images.unpack.extract import Extractor
from wherryd.images.unpack.order import Limits, Order, Ratio
from wherryd.images.unpack.reader import Readable, TarReader, is_packed, open_stream
from wherryd.images.unpack.recipe import RecipeWriter
from wherryd.sys import capabilities, mounts, namespaces, process

# What making files with any owner, mode and type needs. Nothing to mount with, signal others or read
# around permissions elsewhere: there is no elsewhere after the pivot.
_CAPABILITIES = ("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_MKNOD", "CAP_SETFCAP")
# Enough for an xz or zstd window and the bookkeeping of two million entries.
_MAX_MEMORY_BYTES = 3 * 1024**3


def main() -> None:
    order = Order(**json.loads(sys.argv[1]))
    control = socket.socket(fileno=order.control)
    try:
        answer = _unpack(order, control)
    except (ArchiveError, tarfile.TarError, UnicodeError) as exc:
        answer = {"error": str(exc), "fault": "archive"}
    except (OSError, EngineError) as exc:
        answer = {
            "error": exc.strerror or str(exc) if isinstance(exc, OSError) else str(exc),
            "fault": "system",
        }
    except BaseException as exc:
        # A traceback could not be printed: it would read source files below the layer's root.
        answer = {"error": f"{type(exc).__name__}: {exc}", "fault": "system"}
    control.send(json.dumps(answer)[:100_000].encode())
    # Without the interpreter's farewell, which would look for modules again.
    os._exit(0)


def _unpack(order: Order, control: socket.socket) -> dict[str, object]:
    process.prctl(process.PR_SET_PDEATHSIG, 9)
    limits = Limits(entries=order.max_entries, bytes=order.max_bytes)
    source = open_stream(0, Ratio(*order.ratio))
    _confine(order, limits)
    return _extract(order, control, source, limits)


def _confine(order: Order, limits: Limits) -> None:
    """1. no module is found any more 2. the layer becomes the root 3. capabilities and limits go down."""
    sys.path.clear()
    sys.meta_path.clear()
    sys.setrecursionlimit(5000)  # a path of 4095 bytes has up to 2048 components
    os.umask(0)
    namespaces.unshare(namespaces.CLONE_NEWNS)
    mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
    mounts.mount(order.directory, order.directory, None, mounts.MS_BIND)
    os.chdir(order.directory)
    harmless = mounts.MS_NODEV | mounts.MS_NOSUID | mounts.MS_NOEXEC
    mounts.mount(None, ".", None, mounts.MS_REMOUNT | mounts.MS_BIND | harmless)
    mounts.pivot_root(".", ".")
    mounts.umount2(".", mounts.MNT_DETACH)
    os.chdir("/")
    keep = capabilities.mask(_CAPABILITIES)
    process.prctl(process.PR_SET_NO_NEW_PRIVS, 1)
    capabilities.drop_bounding_set(keep)
    capabilities.capset(effective=keep, permitted=keep, inheritable=0)
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_AS, _MAX_MEMORY_BYTES)
    _lower(resource.RLIMIT_FSIZE, limits.bytes)


def _lower(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    if hard == resource.RLIM_INFINITY or value < hard:
        resource.setrlimit(which, (value, value))


def _extract(order: Order, control: socket.socket, source: Readable, limits: Limits) -> dict[str, object]:
    recipe = RecipeWriter(order.recipe)
    reader = TarReader(source, recipe.raw, limits.bytes)
    root = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    extractor = Extractor(
        reader,
        recipe,
        root,
        overlay=order.overlay,
        mark_opaque=lambda fd: _ask_for_opaque(control, fd),
        limits=limits,
    )
    # Behind the end of what is compressed there is still its own end.
    extractor.run((lambda: None) if is_packed(source) else lambda: control.send(b"e"))
    return {
        "diff_id": reader.digest(),
        "tar_bytes": reader.tell(),
        "size": extractor.size,
        "entries": extractor.entries,
        "root_entry": extractor.has_root_entry,
        "skipped_xattrs": sorted(extractor.skipped_xattrs)[:20],
    }


def _ask_for_opaque(control: socket.socket, fd: int) -> None:
    socket.send_fds(control, [b"o"], [fd])


if __name__ == "__main__":
    main()
