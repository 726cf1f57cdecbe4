"""docker's contexts: named engines, kept where docker keeps them, so that both commands know the same.

    FOLDER/contexts/meta/<sha256 of the name>/meta.json
        {"Name": ..., "Metadata": {"Description": ...},
         "Endpoints": {"docker": {"Host": "tcp://...", "SkipTLSVerify": false}}}
    FOLDER/contexts/tls/<sha256 of the name>/docker/{ca,cert,key}.pem

FOLDER is that of docker's config.json, whose currentContext says which one is used. "default" is in no file.
Source: docker CLI reference, "docker context"; what docker 28 writes.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wherry.engine import dockerconfig
from wherry.engine.endpoint import DEFAULT_CONTEXT, Endpoint, Scheme, Tls, parse
from wherry.errors import UsageProblem
from wherry.renaming import replace

ENGINE = "docker"
#: Names of the files -> the fields of Tls.
TLS_FILES: Mapping[str, str] = {"ca.pem": "ca", "cert.pem": "cert", "key.pem": "key"}
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.+-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """skip_verify: the engine need not prove its name. files: what its TLS folder holds, by name."""

    name: str
    host: str
    description: str = ""
    skip_verify: bool = False
    files: Mapping[str, Path] = field(default_factory=dict)

    def metadata(self) -> dict[str, Any]:
        """The document of its meta.json."""
        described = {"Description": self.description} if self.description else {}
        endpoint: dict[str, Any] = {"Host": self.host, "SkipTLSVerify": self.skip_verify}
        return {"Name": self.name, "Metadata": described, "Endpoints": {ENGINE: endpoint}}


class ContextStore:
    """The contexts below a folder (docker's own, by default)."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or Path(dockerconfig.folder())
        self.root = self._folder / "contexts"

    def meta_folder(self, name: str) -> Path:
        return self.root / "meta" / _digest(name)

    def tls_folder(self, name: str) -> Path:
        return self.root / "tls" / _digest(name)

    def all(self) -> Iterator[Context]:
        """By name; without "default". Raises UsageProblem for a file that cannot be read."""
        found = [self._read(path) for path in self.root.glob("meta/*/meta.json")]
        yield from sorted(found, key=lambda context: context.name)

    def get(self, name: str) -> Context:
        """Raises UsageProblem if there is none."""
        path = self.meta_folder(name) / "meta.json"
        if not path.is_file():
            raise UsageProblem(
                f'context "{name}": context not found; see `wherry context ls`, '
                "or use one with `wherry context use`"
            )
        return self._read(path)

    def has(self, name: str) -> bool:
        return (self.meta_folder(name) / "meta.json").is_file()

    def _read(self, path: Path) -> Context:
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            name = str(document["Name"])
            endpoint = (document.get("Endpoints") or {}).get(ENGINE) or {}
            metadata = document.get("Metadata") or {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
            raise UsageProblem(f"{path}: {exc}; mend it or remove its folder") from exc
        folder = self.tls_folder(name) / ENGINE
        return Context(
            name=name,
            host=str(endpoint.get("Host") or ""),
            description=str(metadata.get("Description") or ""),
            skip_verify=bool(endpoint.get("SkipTLSVerify")),
            files={file: folder / file for file in TLS_FILES if (folder / file).is_file()},
        )

    def save(self, context: Context) -> None:
        """New, or in the place of one of that name; its files are copied. Raises UsageProblem."""
        try:
            contents = {name: path.read_bytes() for name, path in context.files.items()}
        except OSError as exc:
            raise UsageProblem(f"cannot read {exc.filename}: {exc.strerror}") from exc
        meta, tls = self.meta_folder(context.name), self.tls_folder(context.name)
        with _writing(self.root):
            shutil.rmtree(tls, ignore_errors=True)
            for name, data in contents.items():
                (tls / ENGINE).mkdir(mode=0o700, parents=True, exist_ok=True)
                _write(tls / ENGINE / name, data)
            meta.mkdir(mode=0o755, parents=True, exist_ok=True)
            # Last: what has this file is a context.
            _write(meta / "meta.json", json.dumps(context.metadata(), separators=(",", ":")).encode())

    def remove(self, name: str) -> None:
        """Raises UsageProblem if there is none."""
        self.get(name)
        with _writing(self.root):
            shutil.rmtree(self.meta_folder(name))
            shutil.rmtree(self.tls_folder(name), ignore_errors=True)


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all; for the user alone, as it may be a key."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    replace(fresh, path)


@contextlib.contextmanager
def _writing(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise UsageProblem(f"cannot write below {root}: {exc.strerror}") from exc


def check_name(name: str) -> None:
    """Raises UsageProblem in docker's words."""
    if not name:
        raise UsageProblem("context name cannot be empty")
    if name == DEFAULT_CONTEXT:
        raise UsageProblem('"default" is a reserved context name')
    if not _NAME.fullmatch(name):
        raise UsageProblem(
            f'context name "{name}" is invalid, names are validated against regexp "^{_NAME.pattern}$"'
        )


def endpoint(name: str, tls: Tls | None = None) -> Endpoint:
    """Where a context's engine listens. tls: instead of its own. Raises UsageProblem."""
    context = ContextStore().get(name)
    if not context.host:
        raise UsageProblem(
            f'context "{name}" names no engine; run `wherry context update {name} --docker host=`'
        )
    if tls is None and (context.files or context.skip_verify):
        paths = {TLS_FILES[file]: str(path) for file, path in context.files.items()}
        tls = Tls(verify=not context.skip_verify, **paths)
    found = parse(context.host, tls)
    return found if found.scheme is Scheme.TCP or tls is None else parse(context.host)
