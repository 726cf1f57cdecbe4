"""A folder as a build context: one tar stream, made while it is read, without what `.dockerignore` names.

Source: docker build reference, ".dockerignore files". Owners are left out (0:0): a COPY never takes
them over, and the same folder is then the same context on every machine.
"""

import os
import posixpath
import secrets
import stat
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from wherry.errors import UsageProblem
from wherrywire.contextsync import Needs
from wherrywire.dockerignore import BadPattern, Matcher, always_sent, read

_CHUNK_BYTES = 256 * 1024
_IGNORE = ".dockerignore"


#: Rounds of following links from link to link, as the kernel does.
_MAX_ROUNDS = 40

#: The text of a Dockerfile -> what it can need of the context, None for everything.
AskNeeds = Callable[[bytes], Needs | None]


@dataclass(frozen=True, slots=True)
class Found:
    """One file of the folder, as it was when it was looked at."""

    name: str
    path: Path
    status: os.stat_result


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildContext:
    """dockerfile: its name in the archive. size_bytes: of all files. extra: files not from the folder."""

    dockerfile: str
    size_bytes: int
    entries: tuple[Found, ...]
    extra: dict[str, bytes] = field(default_factory=dict)

    def chunks(self) -> Iterator[bytes]:
        """The archive. Raises UsageProblem for a file that cannot be read."""
        for name, data in self.extra.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o600
            yield _header(info) + data + bytes(-len(data) % tarfile.BLOCKSIZE)
        links: dict[tuple[int, int], str] = {}
        for entry in self.entries:
            if entry.name not in self.extra:
                yield from _entry(entry, links)
        yield bytes(2 * tarfile.BLOCKSIZE)


def scan(folder: Path, dockerfile: Path | bytes | None, ask: AskNeeds | None = None) -> BuildContext:
    """Looks at every file that is needed. dockerfile: its path, its contents, or None for the folder's own.

    Raises UsageProblem, and what ask raises.
    """
    extra: dict[str, bytes] = {}
    contents = dockerfile if isinstance(dockerfile, bytes) else None
    name = "Dockerfile"
    if isinstance(dockerfile, Path):
        inside = _relative(folder, dockerfile)
        if inside is None:
            contents = dockerfile_bytes(dockerfile)
        name = inside or name
    elif contents is None and not (folder / name).exists() and (folder / "dockerfile").exists():
        name = "dockerfile"
    patterns, ignore = _patterns(folder, name)
    if contents is not None:
        # From elsewhere: under a name that nobody has, and that is excluded from COPY.
        name = f".dockerfile.{secrets.token_hex(10)}"
        extra[name] = contents
        patterns = [*patterns, name]
        extra[_IGNORE] = (ignore + f"\n{name}\n{_IGNORE}\n".encode()).lstrip(b"\n")
    elif not (folder / name).is_file():
        raise UsageProblem(f"unable to find the Dockerfile {folder / name}; name it with -f")
    try:
        matcher = Matcher(always_sent(patterns, name, _IGNORE, f"{name}{_IGNORE}"))
    except BadPattern as exc:
        raise UsageProblem(f"cannot read {folder / _IGNORE}: {exc}") from exc
    needs = None
    if ask is not None:
        needs = ask(contents if contents is not None else dockerfile_bytes(folder / name))
    entries = _needed(folder, matcher, needs, (name, _IGNORE, f"{name}{_IGNORE}"))
    size = sum(entry.status.st_size for entry in entries if stat.S_ISREG(entry.status.st_mode))
    return BuildContext(dockerfile=name, size_bytes=size, entries=entries, extra=extra)


def dockerfile_of(folder: Path, dockerfile: Path | None) -> tuple[str, bytes, list[str]]:
    """(its name, its text, the patterns of the ignore file). dockerfile: None for the folder's own.

    Raises UsageProblem."""
    path = dockerfile or folder / "Dockerfile"
    if dockerfile is None and not path.exists() and (folder / "dockerfile").exists():
        path = folder / "dockerfile"
    return path.name, dockerfile_bytes(path), _patterns(folder, _relative(folder, path) or path.name)[0]


def only_dockerfile(data: bytes) -> bytes:
    """The archive of a context that has nothing but a Dockerfile."""
    context = BuildContext(dockerfile="Dockerfile", size_bytes=0, entries=(), extra={"Dockerfile": data})
    return b"".join(context.chunks())


def is_archive(head: bytes) -> bool:
    """By the first 512 bytes: a tar, or something compressed that should be one."""
    if head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")):
        return True
    try:
        tarfile.TarInfo.frombuf(head[: tarfile.BLOCKSIZE], "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    return True


def dockerfile_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise UsageProblem(f"unable to read the Dockerfile {path}: {exc.strerror}; name it with -f") from exc


def _relative(folder: Path, dockerfile: Path) -> str | None:
    """The Dockerfile's name in the context; None when it lies elsewhere."""
    for path in (dockerfile.absolute(), dockerfile.resolve()):
        for root in (folder.absolute(), folder.resolve()):
            if path.is_relative_to(root):
                return path.relative_to(root).as_posix()
    return None


def _patterns(folder: Path, dockerfile: str) -> tuple[list[str], bytes]:
    """The patterns, and the bytes of the file they come from; the Dockerfile's own file comes first."""
    for name in (f"{dockerfile}{_IGNORE}", _IGNORE):
        try:
            data = (folder / name).read_bytes()
        except FileNotFoundError:
            continue
        except OSError as exc:
            raise UsageProblem(f"cannot read {folder / name}: {exc.strerror}") from exc
        return read(data), data
    return [], b""


def _needed(
    folder: Path, matcher: Matcher, needs: Needs | None, always: tuple[str, ...]
) -> tuple[Found, ...]:
    """Also what links on the way to a source lead to: the engine follows them inside the context."""
    if needs is None or needs.everything:
        return tuple(_walk(folder, "", matcher, None))
    needs = Needs((*needs.patterns, *always))
    for _ in range(_MAX_ROUNDS):
        entries = tuple(_walk(folder, "", matcher, needs))
        led = {
            _led_to(entry)
            for entry in entries
            if stat.S_ISLNK(entry.status.st_mode) and needs.follows(entry.name)
        }
        if led <= set(needs.patterns):
            return entries
        needs = Needs((*needs.patterns, *led))
    return tuple(_walk(folder, "", matcher, None))


def _led_to(link: Found) -> str:
    """With the context's root as "/", above which nothing leads."""
    target = posixpath.join("/", posixpath.dirname(link.name), target_of(link.path))
    return posixpath.normpath(target).lstrip("/")


def _walk(folder: Path, prefix: str, matcher: Matcher, needs: Needs | None) -> Iterator[Found]:
    try:
        found = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as exc:
        raise UsageProblem(
            f"unable to prepare context: cannot read {folder}: {exc.strerror}; "
            "correct its permissions, or name it in .dockerignore"
        ) from exc
    for entry in found:
        name = prefix + entry.name
        if needs is not None and not needs.takes(name):
            continue
        is_folder = entry.is_dir(follow_symlinks=False)
        if matcher.skips(name, folder=is_folder):
            continue
        status = entry.stat(follow_symlinks=False)
        if not matcher.excludes(name):
            yield Found(name, Path(entry.path), status)
        if is_folder:
            yield from _walk(Path(entry.path), name + "/", matcher, needs)


def _entry(entry: Found, links: dict[tuple[int, int], str]) -> Iterator[bytes]:
    mode = entry.status.st_mode
    info = tarfile.TarInfo(entry.name)
    info.mtime = int(entry.status.st_mtime)
    info.mode = permissions(mode)
    if stat.S_ISDIR(mode):
        info.type = tarfile.DIRTYPE
        yield _header(info)
    elif stat.S_ISLNK(mode):
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, target_of(entry.path), 0o777
        yield _header(info)
    elif stat.S_ISFIFO(mode):
        info.type = tarfile.FIFOTYPE
        yield _header(info)
    elif stat.S_ISREG(mode):
        key = (entry.status.st_dev, entry.status.st_ino)
        if entry.status.st_nlink > 1 and entry.status.st_ino and key in links:
            info.type, info.linkname = tarfile.LNKTYPE, links[key]
            yield _header(info)
            return
        links[key] = entry.name
        yield from _file(entry, info)


def permissions(mode: int) -> int:
    """Windows keeps none: everything can be executed there, as docker has it."""
    return 0o755 if sys.platform == "win32" else stat.S_IMODE(mode)


def target_of(path: Path) -> str:
    target = str(path.readlink())
    return target.replace("\\", "/") if sys.platform == "win32" else target


def _file(entry: Found, info: tarfile.TarInfo) -> Iterator[bytes]:
    """As many bytes as the header says, also if the file grows meanwhile."""
    try:
        with entry.path.open("rb") as file:
            info.size = left = os.fstat(file.fileno()).st_size
            yield _header(info)
            while left:
                data = file.read(min(left, _CHUNK_BYTES))
                if not data:
                    raise UsageProblem(f"{entry.path} became shorter while it was sent; build again")
                left -= len(data)
                yield data
    except OSError as exc:
        raise UsageProblem(
            f"unable to prepare context: cannot read {entry.path}: {exc.strerror}; "
            "correct its permissions, or name it in .dockerignore"
        ) from exc
    yield bytes(-info.size % tarfile.BLOCKSIZE)


def _header(info: tarfile.TarInfo) -> bytes:
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


class ChunkReader:
    """An iterator of bytes as something with `read`."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._left = BytesIO()

    def read(self, size: int = -1, /) -> bytes:
        """Up to size bytes, b"" at the end. A negative size: everything."""
        if size < 0:
            return self._left.read() + b"".join(self._chunks)
        while True:
            if data := self._left.read(size):
                return data
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._left = BytesIO(chunk)
