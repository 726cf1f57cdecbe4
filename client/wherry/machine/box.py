"""Which box a machine is made from: a file, checked before anything is made from it.

Order: --box, WHERRY_BOX, the config file, the box this version built or fetched into the cache.
"""

import hashlib
import json
import os
import platform
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from wherry.errors import MachineProblem, UsageProblem
from wherry.host import make_private_folder
from wherry.paths import Paths
from wherrywire.version import __version__

DOWNLOAD_SECONDS = 60.0  # without a byte
CHUNK_BYTES = 1024 * 1024
_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}

#: bytes so far, bytes in all (0: the server does not say)
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Box:
    path: Path
    sha256: str


def architecture() -> str:
    """Debian's name for this host's CPU; the guest has the same."""
    machine = platform.machine().lower()
    return _ARCHITECTURES.get(machine, machine)


def find(option: str | None, configured: str | None, places: Paths, progress: Progress | None = None) -> Box:
    """The box to use, downloaded if it is a URL. Raises UsageProblem or MachineProblem."""
    wanted = option or os.environ.get("WHERRY_BOX") or configured
    if wanted is None:
        return _cached(places)
    if wanted.startswith(("http://", "https://")):
        path = _download(wanted, places, progress)
    else:
        path = Path(wanted.removeprefix("file://")).expanduser().absolute()
    return checked(path)


def checked(path: Path) -> Box:
    """A box that can be read and is for VirtualBox, with its digest. Raises UsageProblem."""
    if not path.is_file():
        raise UsageProblem(
            f"there is no box at {path}; build one with `make box`, or name another with --box"
        )
    try:
        with tarfile.open(path) as archive:
            metadata = next(
                (entry for entry in archive if entry.name.removeprefix("./") == "metadata.json"), None
            )
            stream = archive.extractfile(metadata) if metadata is not None else None
            provider = json.load(stream).get("provider") if stream is not None else None
    except (tarfile.TarError, OSError, ValueError, AttributeError) as exc:
        raise UsageProblem(f"{path} is not a Vagrant box: {exc}; name another with --box") from exc
    if provider != "virtualbox":
        raise UsageProblem(
            f"{path} is not a box for VirtualBox (provider {provider!r}); name another with --box"
        )
    with path.open("rb") as content:
        return Box(path, hashlib.file_digest(content, "sha256").hexdigest())


def _cached(places: Paths) -> Box:
    pointer = places.boxes / f"{__version__}-{architecture()}.json"
    try:
        found = json.loads(pointer.read_text(encoding="utf-8"))
        path = Path(found["box"])
        digest = str(found["sha256"])
    except FileNotFoundError as exc:
        raise UsageProblem(
            f"there is no box for wherry {__version__} on {architecture()} here; "
            "build one with `make box`, or name one with --box PATH"
        ) from exc
    except (ValueError, KeyError, TypeError) as exc:
        raise UsageProblem(f"{pointer} is damaged; build the box again with `make box`") from exc
    if not path.is_file():
        raise UsageProblem(f"the box {path} is gone; build it again with `make box`")
    return Box(path, digest)


def _download(url: str, places: Paths, progress: Progress | None) -> Path:
    """Fetches into the cache, under the URL's digest. A part of a download never gets the final name."""
    import requests  # slow to import, and seldom needed

    folder = places.boxes / "by-url"
    make_private_folder(folder)
    target = folder / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.box"
    if target.is_file():
        return target
    partial = target.with_suffix(f".{os.getpid()}.part")
    try:
        with requests.get(url, stream=True, timeout=DOWNLOAD_SECONDS) as answer, partial.open("wb") as output:
            answer.raise_for_status()
            total = int(answer.headers.get("Content-Length", 0))
            done = 0
            for chunk in answer.iter_content(CHUNK_BYTES):
                output.write(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, total)
        if total and done != total:
            raise MachineProblem(f"{url} ended after {done} of {total} bytes; try again")
        partial.replace(target)
    except requests.RequestException as exc:
        raise MachineProblem(
            f"the box cannot be fetched: {exc}; try again, or name a file with --box"
        ) from exc
    finally:
        partial.unlink(missing_ok=True)
    return target
