"""What the verbs of contexts share: the one that is used, the default one, and what --docker says."""

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wherry.engine.contexts import ENGINE, TLS_FILES, Context, ContextStore
from wherry.engine.endpoint import DEFAULT_CONTEXT, DEFAULT_MACHINE, of_machine, parse
from wherry.engine.parse.values import boolean
from wherry.errors import UsageProblem

DEFAULT_DESCRIPTION = "The default machine, or what DOCKER_HOST names"
#: Where docker says that the default context is kept.
_NOWHERE = "<IN MEMORY>"


def default() -> Context:
    host = os.environ.get("WHERRY_HOST") or os.environ.get("DOCKER_HOST") or str(of_machine(DEFAULT_MACHINE))
    return Context(name=DEFAULT_CONTEXT, host=host)


def overriding() -> str | None:
    """The variable that names the engine whatever the context in use is, if there is one."""
    return next((name for name in ("WHERRY_HOST", "DOCKER_HOST") if os.environ.get(name)), None)


def named(store: ContextStore, name: str) -> Context:
    """Raises UsageProblem if there is none."""
    return default() if name == DEFAULT_CONTEXT else store.get(name)


def document(store: ContextStore, context: Context) -> dict[str, Any]:
    """What `inspect` shows of a context."""
    kept = context.name != DEFAULT_CONTEXT
    places = {"MetadataPath": store.meta_folder(context.name), "TLSPath": store.tls_folder(context.name)}
    return {
        **context.metadata(),
        "TLSMaterial": {ENGINE: sorted(context.files)} if context.files else {},
        "Storage": {key: str(path) if kept else _NOWHERE for key, path in places.items()},
    }


def read_docker(text: str, name: str, description: str) -> Context:
    """`host=tcp://myserver:2376,ca=~/ca.pem,cert=...,key=...,skip-tls-verify=true`, or `from=CONTEXT`.

    Raises UsageProblem.
    """
    fields: dict[str, str] = {}
    for item in next(csv.reader([text]), []):
        key, equals, value = item.partition("=")
        if not equals:
            raise UsageProblem(f"--docker {item}: write key=value")
        fields[key.strip().lower()] = value
    if wrong := set(fields) - {"from", "host", "ca", "cert", "key", "skip-tls-verify"}:
        raise UsageProblem(
            f"unable to create docker endpoint config: unrecognized config key: {min(wrong)}; "
            "known are host, ca, cert, key, skip-tls-verify and from"
        )
    if "from" in fields:
        source = named(ContextStore(), fields["from"])
        return Context(
            name=name,
            host=source.host,
            description=description,
            skip_verify=source.skip_verify,
            files=source.files,
        )
    host = fields.get("host") or default().host
    parse(host)  # what cannot be read is not kept
    return Context(
        name=name,
        host=host,
        description=description,
        skip_verify=bool(fields.get("skip-tls-verify"))
        and boolean(fields["skip-tls-verify"], "skip-tls-verify"),
        files=_files(fields),
    )


def _files(fields: Mapping[str, str]) -> dict[str, Path]:
    found = {file: Path(fields[key]).expanduser() for file, key in TLS_FILES.items() if fields.get(key)}
    for path in found.values():
        if not path.is_file():
            raise UsageProblem(
                f"unable to create docker endpoint config: open {path}: no such file; name a PEM file"
            )
    return found
