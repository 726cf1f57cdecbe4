"""A folder as a build context: its files, without what `.dockerignore` names.

Source: docker build reference, ".dockerignore files". How it is sent: contextsync.py, contextarchive.py.
"""

import os
import posixpath
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from io import BytesIO
from pathlib import Path

from wherry.errors import UsageProblem
from wherrywire.contextsync import Needs
from wherrywire.dockerignore import BadPattern, Matcher, always_sent, read

_IGNORE = ".dockerignore"


#: Rounds of following links from link to link, as the kernel does.
_MAX_ROUNDS = 40

#: The text of a Dockerfile -> what it can need of the context, None for everything.
AskNeeds = Callable[[bytes], Needs | None]


@dataclass(frozen=True, slots=True)
class Found:
    """One file of the folder, as it was when it was looked at."""

    name: str
    place: str
    status: os.stat_result

    @property
    def path(self) -> Path:
        return Path(self.place)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildContext:
    """dockerfile: its name in the archive. size_bytes: of all files. extra: files not from the folder."""

    dockerfile: str
    size_bytes: int
    entries: tuple[Found, ...]
    extra: dict[str, bytes] = field(default_factory=dict)


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
        # From elsewhere: under a name that nobody has, and that is excluded from COPY. The same for the same
        # contents, so that a list of files is the same as last time.
        name = f".dockerfile.{sha256(contents).hexdigest()[:20]}"
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


def whole(folder: Path) -> BuildContext:
    """All of a folder but what its `.dockerignore` names: a named context, without a Dockerfile.

    Raises UsageProblem."""
    patterns, _ = _patterns(folder, "")
    try:
        matcher = Matcher(patterns)
    except BadPattern as exc:
        raise UsageProblem(f"cannot read {folder / _IGNORE}: {exc}") from exc
    entries = _needed(folder, matcher, None, ())
    size = sum(entry.status.st_size for entry in entries if stat.S_ISREG(entry.status.st_mode))
    return BuildContext(dockerfile="", size_bytes=size, entries=entries)


def dockerfile_of(folder: Path, dockerfile: Path | None) -> tuple[str, bytes, list[str]]:
    """(its name, its text, the patterns of the ignore file). dockerfile: None for the folder's own.

    Raises UsageProblem."""
    path = dockerfile or folder / "Dockerfile"
    if dockerfile is None and not path.exists() and (folder / "dockerfile").exists():
        path = folder / "dockerfile"
    return path.name, dockerfile_bytes(path), _patterns(folder, _relative(folder, path) or path.name)[0]


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
        return tuple(_walk(str(folder), "", matcher, None))
    needs = Needs((*needs.patterns, *always))
    for _ in range(_MAX_ROUNDS):
        entries = tuple(_walk(str(folder), "", matcher, needs))
        led = {
            _led_to(entry)
            for entry in entries
            if stat.S_ISLNK(entry.status.st_mode) and needs.follows(entry.name)
        }
        if led <= set(needs.patterns):
            return entries
        needs = Needs((*needs.patterns, *led))
    return tuple(_walk(str(folder), "", matcher, None))


def _led_to(link: Found) -> str:
    """With the context's root as "/", above which nothing leads."""
    target = posixpath.join("/", posixpath.dirname(link.name), target_of(link.path))
    return posixpath.normpath(target).lstrip("/")


def _walk(folder: str, prefix: str, matcher: Matcher, needs: Needs | None) -> Iterator[Found]:
    if needs is not None and needs.takes_all(prefix):
        needs = None
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
            yield Found(name, entry.path, status)
        if is_folder:
            yield from _walk(entry.path, name + "/", matcher, needs)


def permissions(mode: int) -> int:
    """Windows keeps none: everything can be executed there, as docker has it."""
    return 0o755 if sys.platform == "win32" else stat.S_IMODE(mode)


def target_of(path: Path) -> str:
    target = str(path.readlink())
    return target.replace("\\", "/") if sys.platform == "win32" else target


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
