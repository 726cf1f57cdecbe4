"""`wherry context export` and `import`: a context as a tar, keys included, as docker writes and reads it."""

import io
import json
import os
import sys
import tarfile
import tempfile
import zipfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wherry.cli import completing
from wherry.cli.command import verb
from wherry.errors import UsageProblem

if TYPE_CHECKING:
    from wherry.engine.contexts import Context

#: Docker's limit for an archive of contexts, in bytes.
_MOST_BYTES = 10 * 1024 * 1024


@verb("export")
@click.argument("name", metavar="CONTEXT", shell_complete=completing.contexts)
@click.argument("file", required=False, metavar="[FILE|-]")
def export(name: str, file: str | None) -> None:
    """Export a context to an archive, CONTEXT.dockercontext or FILE; mind that its keys are in it."""
    from wherry.cli.context import common
    from wherry.engine.contexts import ContextStore

    packed = _pack(common.named(ContextStore(), name))
    if file == "-":
        if sys.stdout.isatty():
            raise UsageProblem("cowardly refusing to export to a terminal, specify a file path")
        sys.stdout.buffer.write(packed)
        return
    target = Path(file or f"{name}.dockercontext")
    try:
        # For its user alone from the first moment: keys are in it.
        with open(target, "xb", opener=partial(os.open, mode=0o600)) as out:
            out.write(packed)
    except OSError as exc:
        raise UsageProblem(f"open {target}: {(exc.strerror or str(exc)).lower()}; name another file") from exc
    click.echo(f'Written file "{target}"', err=True)


def _pack(context: "Context") -> bytes:
    from wherry.engine.contexts import ENGINE

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:

        def add(name: str, data: bytes | None) -> None:
            entry = tarfile.TarInfo(name)
            if data is None:
                entry.type, entry.mode = tarfile.DIRTYPE, 0o700
                archive.addfile(entry)
            else:
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))

        add("meta.json", json.dumps(context.metadata(), separators=(",", ":")).encode())
        add("tls", None)
        if context.files:
            add(f"tls/{ENGINE}", None)
        for name, path in sorted(context.files.items()):
            add(f"tls/{ENGINE}/{name}", path.read_bytes())
    return buffer.getvalue()


@verb("import")
@click.argument("name", metavar="CONTEXT")
@click.argument("file", metavar="FILE|-")
def import_(name: str, file: str) -> None:
    """Import a context from an archive of `export`, a tar or a zip."""
    from wherry.engine.contexts import ContextStore, check_name

    store = ContextStore()
    check_name(name)
    if store.has(name):
        raise UsageProblem(f'context "{name}" already exists')
    try:
        data = sys.stdin.buffer.read(_MOST_BYTES + 1) if file == "-" else Path(file).read_bytes()
    except OSError as exc:
        raise UsageProblem(f"open {file}: {(exc.strerror or str(exc)).lower()}; name an archive") from exc
    if len(data) > _MOST_BYTES:
        raise UsageProblem(f"{file}: more than {_MOST_BYTES} bytes; is it an archive of `context export`?")
    with tempfile.TemporaryDirectory() as folder:
        store.save(_unpacked(_members(data, file), name, Path(folder), file))
    click.echo(name)
    click.echo(f'Successfully imported context "{name}"', err=True)


def _members(data: bytes, file: str) -> dict[str, bytes]:
    """Name -> contents of the regular files. Raises UsageProblem."""
    found: dict[str, bytes] = {}
    try:
        if zipfile.is_zipfile(io.BytesIO(data)):
            with zipfile.ZipFile(io.BytesIO(data)) as packed:
                if sum(entry.file_size for entry in packed.infolist()) > _MOST_BYTES:
                    raise UsageProblem(f"{file}: more than {_MOST_BYTES} bytes when unpacked")
                return {each.filename: packed.read(each) for each in packed.infolist() if not each.is_dir()}
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for entry in archive:
                if entry.isreg() and (content := archive.extractfile(entry)) is not None:
                    found[entry.name] = content.read()
    except (tarfile.TarError, zipfile.BadZipFile, OSError) as exc:
        raise UsageProblem(f"{file}: {exc}; name an archive of `context export`") from exc
    return found


def _unpacked(members: dict[str, bytes], name: str, folder: Path, file: str) -> "Context":
    from wherry.engine.contexts import ENGINE, TLS_FILES, Context
    from wherry.engine.endpoint import parse

    try:
        document = json.loads(members["meta.json"])
        endpoint = document["Endpoints"][ENGINE]
        host, description = (
            str(endpoint["Host"]),
            str((document.get("Metadata") or {}).get("Description") or ""),
        )
    except (KeyError, ValueError, TypeError, AttributeError) as exc:
        raise UsageProblem(f"{file}: invalid context: no meta.json with an engine's address") from exc
    parse(host)
    files = {}
    for known in TLS_FILES:
        if (content := members.get(f"tls/{ENGINE}/{known}")) is not None:
            files[known] = folder / known
            files[known].write_bytes(content)
    return Context(
        name=name,
        host=host,
        description=description,
        skip_verify=bool(endpoint.get("SkipTLSVerify")),
        files=files,
    )
