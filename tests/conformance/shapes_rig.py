"""Dockerfiles after the structure of popular images, built by Wherry, dockerd's classic builder and buildah.

`shapes/NAME` is a context as it is in a repository. `Dockerfile.classic`, where there is one, says the same
without BuildKit's language, for the builders that do not have it. All of them install Debian's packages, from
a mirror on loopback.
"""

import contextlib
import gzip
import io
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder_rig import MTIME, DockerDaemon, config
from native_engine import busybox_tar, unmount_below
from serving import ROOT, made, package_mirror

SHAPES = Path(__file__).parent / "shapes"
PACKAGES = (
    "apache2", "gosu", "libapache2-mod-php", "libc6-dev", "nginx-light", "nodejs", "php-mysql", "python3-pip",
    "python3-venv", "redis-server", "tcc",
)  # fmt: skip
#: Contexts that are in examples/.
EXAMPLES = ("php_box", "myapp")
BASE = "debian:13"
CLASSIC = "Dockerfile.classic"
_BUILD_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Client:
    """A builder's command line; build and archive are what follows it."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str]
    classic: bool

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*self.command, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_BUILD_SECONDS,
            check=False,
        )
        assert done.returncode == 0, (self.name, arguments, done.stdout[-2000:], done.stderr[-2000:])
        return done

    def build(self, folder: Path, tag: str) -> None:
        file = folder / CLASSIC
        if not self.classic or not file.exists():
            file = folder / "Dockerfile"
        self.run("build", "--network=host", f"--file={file}", f"--tag={tag}", str(folder))

    def archive(self, tag: str, file: Path) -> bytes:
        """As `docker save` writes it."""
        if self.name == "buildah":
            self.run("push", "--quiet", f"localhost/{tag}", f"docker-archive:{file}:{tag}")
        else:
            self.run("save", f"--output={file}", tag)
        data = file.read_bytes()
        file.unlink()
        return data


def wherry(socket: Path) -> Client:
    command = (sys.executable, "-m", "wherry")
    return Client("wherry", command, {**os.environ, "WHERRY_HOST": f"unix://{socket}"}, classic=False)


def dockerd(daemon: DockerDaemon) -> Client:
    chosen = {"DOCKER_HOST": f"unix://{daemon.socket}", "DOCKER_BUILDKIT": "0"}
    return Client("dockerd", ("docker",), {**os.environ, **chosen}, classic=True)


@contextlib.contextmanager
def buildah(folder: Path) -> Iterator[Client]:
    """It has no daemon: all it keeps is below the folder."""
    # An OCI image has no health check.
    chosen = {
        "BUILDAH_FORMAT": "docker", "BUILDAH_ISOLATION": "chroot", "TMPDIR": str(folder),
        "STORAGE_DRIVER": "overlay", "REGISTRIES_CONFIG_PATH": str(folder / "registries.conf"),
    }  # fmt: skip
    (folder / "registries.conf").write_text('unqualified-search-registries = ["localhost"]\n')
    command = ("buildah", f"--root={folder}/data", f"--runroot={folder}/run")
    try:
        yield Client("buildah", command, {**os.environ, **chosen}, classic=True)
    finally:
        unmount_below(folder)
        shutil.rmtree(folder / "data", ignore_errors=True)


@contextlib.contextmanager
def mirror() -> Iterator[str]:
    """Debian's packages on loopback; the line of a sources.list."""
    with package_mirror(*PACKAGES) as sources:
        yield sources


def base_context(folder: Path, sources: str) -> Path:
    """A context that makes BASE in any builder: Debian, with packages from the mirror on loopback."""
    folder.mkdir()
    shutil.copy(made("examples/debian/rootfs.sh"), folder / "debian.tar")
    (folder / "sources.list").write_text(sources)
    (folder / "Dockerfile").write_text(
        "FROM scratch\nADD debian.tar /\n"
        "RUN rm -r /etc/apt/sources.list.d/* /var/lib/apt/lists/*\nCOPY sources.list /etc/apt/\n"
    )
    return folder


def shape(name: str, folder: Path) -> Path:
    """A copy of the shape's context with what a repository holds no binary of."""
    source = ROOT / "examples" / name if name in EXAMPLES else SHAPES / name
    context = Path(shutil.copytree(source, folder / name))
    if name == "base":
        (context / "rootfs.tar.gz").write_bytes(gzip.compress(busybox_tar(), mtime=0))
    if name == "blog":
        (context / "blog.tar.gz").write_bytes(gzip.compress(_blog(), mtime=0))
    if name == "python-cache":
        _wheel(context / "wheels")
    return context


def _blog() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, mode in (("blog", 0o700), ("blog/admin", 0o777), ("blog/index.php", 0o644)):
            entry = tarfile.TarInfo(name)
            entry.mode, entry.mtime, entry.uid, entry.gid = mode, MTIME, 1000, 1000
            if name.endswith(".php"):
                entry.size = 5
                archive.addfile(entry, io.BytesIO(b"<?php"))
            else:
                entry.type = tarfile.DIRTYPE
                archive.addfile(entry)
    return buffer.getvalue()


def _wheel(folder: Path) -> None:
    """A package `oars` of one module (PEP 427)."""
    folder.mkdir()
    info = "oars-1.0.dist-info"
    files = {
        "oars.py": "COUNT = 8\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: oars\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    with zipfile.ZipFile(folder / "oars-1.0-py3-none-any.whl", "w") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0)), text)


def settings(archive: bytes, builder: str) -> dict[str, Any]:
    """The config that a container gets, without what says nothing or is the builder's own."""
    document = config(archive)
    found = {
        key: value
        for key, value in document["config"].items()
        if value and key not in ("Image", "Hostname", "Domainname")
    }
    labels = {
        key: value for key, value in (found.pop("Labels", None) or {}).items() if key != "io.buildah.version"
    }
    if builder == "buildah":
        # It sets a variable that the base has anew, at the end.
        found["Env"] = sorted(found.get("Env", []))
    return {**found, **({"Labels": labels} if labels else {}), "author": document.get("author", "")}
