"""`wherryd configure`: changes the options file of a data root, and the certificates of registries beside it.

    stdin    {"options": {"registry-mirrors": [...]}, "certificates": {"HOST": {"ca.crt": "-----BEGIN..."}}}
    stdout   {"options": all that the file says now, "certificates": {"HOST": ["ca.crt"]}}

An option that is null is taken out of the file, a host that is null loses its folder. The file is read by the
next start; nothing is changed unless that start would take all of it.
"""

import argparse
import json
import os
import shutil
import ssl
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wherryd.daemon.options import CONFIG_FILE, DEFAULT_DATA_ROOT, parse
from wherryd.errors import InvalidParameter
from wherryd.registry.hosts import Hosts, RegistryOptions, check_domain
from wherryd.sys import durable

_KINDS = (".crt", ".cert", ".key")
_MAX_BYTES = 16 * 1024 * 1024


def run(arguments: Sequence[str]) -> int:
    """The exit status. Raises InvalidParameter, OSError."""
    parser = argparse.ArgumentParser(
        prog="wherryd configure",
        description="Changes options of the next start. Reads JSON from stdin, prints what is set now.",
    )
    parser.add_argument("--data-root", metavar="DIR", default=DEFAULT_DATA_ROOT)
    root = Path(parser.parse_args(arguments).data_root).absolute()
    configure(root, _object(sys.stdin.buffer.read(_MAX_BYTES)))
    json.dump(configured(root), sys.stdout, indent=1)
    sys.stdout.write("\n")
    return 0


def configured(root: Path) -> dict[str, Any]:
    """What is set now."""
    folders = sorted((root / "certs.d").iterdir()) if (root / "certs.d").is_dir() else []
    return {
        "options": _file(root),
        "certificates": {folder.name: sorted(file.name for file in folder.iterdir()) for folder in folders},
    }


def configure(root: Path, wanted: Mapping[str, Any]) -> None:
    """Raises InvalidParameter, with nothing changed."""
    options, certificates = _part(wanted, "options"), _part(wanted, "certificates")
    if unknown := sorted(set(wanted) - {"options", "certificates"}):
        raise InvalidParameter(f"{', '.join(unknown)}: only options and certificates can be configured")
    merged = {key: value for key, value in (_file(root) | options).items() if value is not None}
    _check_options(root, merged)
    for host, files in certificates.items():
        _check_certificates(host, files)
    for host, files in certificates.items():
        folder = root / "certs.d" / host
        if files is None:
            shutil.rmtree(folder, ignore_errors=True)
            continue
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name, text in files.items():
            durable.write(folder / name, text.encode())
            (folder / name).chmod(0o600)
    if options:
        durable.write(root / CONFIG_FILE, json.dumps(merged, indent=1).encode() + b"\n")


def _part(wanted: Mapping[str, Any], name: str) -> dict[str, Any]:
    part = wanted.get(name, {})
    if not isinstance(part, dict):
        raise InvalidParameter(f'"{name}" must be a JSON object')
    return part


def _file(root: Path) -> dict[str, Any]:
    path = root / CONFIG_FILE
    return _object(path.read_bytes()) if path.is_file() else {}


def _object(data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data or b"{}")
    except ValueError as exc:
        raise InvalidParameter(f"not JSON: {exc}") from exc
    if not isinstance(document, dict):
        raise InvalidParameter("wants one JSON object")
    return document


def _check_options(root: Path, merged: Mapping[str, Any]) -> None:
    if "data-root" in merged:
        raise InvalidParameter("data-root: the file lies in the data root and cannot name another")
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(merged, file)
        file.flush()
        try:
            options = parse(["--data-root", str(root), "--config-file", file.name])
        except InvalidParameter as exc:
            raise InvalidParameter(str(exc).replace(f"config file {file.name}: ", "")) from exc
    Hosts(RegistryOptions(insecure=options.insecure_registries, mirrors=options.registry_mirrors))


def _check_certificates(host: str, files: Any) -> None:
    check_domain(host)
    if files is None:
        return
    if not isinstance(files, dict) or not all(isinstance(text, str) for text in files.values()):
        raise InvalidParameter(f"{host}: wants file names with their contents")
    for name, text in files.items():
        if os.path.basename(name) != name or Path(name).suffix not in _KINDS:  # noqa: PTH119 - of a name
            raise InvalidParameter(f"{host}: {name!a} is no *.crt, *.cert or *.key")
        if name.endswith(".crt"):
            try:
                ssl.create_default_context(cadata=text)
            except (ssl.SSLError, ValueError) as exc:
                raise InvalidParameter(f"{host}: {name} is no certificate in PEM: {exc}") from exc
