"""`wherry import`: a root file system becomes an image."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from wherry.cli import progress, references
from wherry.cli.command import engine, texts, verb
from wherry.engine.client import Readable, body_of
from wherry.engine.progress import read
from wherry.errors import UsageProblem


@verb("import")
@texts("-c", "--change", "changes", help="Apply a Dockerfile instruction to the created image.")
@click.option("-m", "--message", help="Set commit message for imported image.")
@click.option("--platform", help="Set platform if server is multi-platform capable.")
@click.argument("source", metavar="file|URL|-")
@click.argument("reference", required=False, metavar="[REPOSITORY[:TAG]]")
@click.pass_context
def import_(
    ctx: click.Context,
    changes: tuple[str, ...],
    message: str | None,
    platform: str | None,
    source: str,
    reference: str | None,
) -> None:
    """Import the contents from a tarball to create a filesystem image."""
    remote = source.startswith(("http://", "https://"))
    params: dict[str, Any] = {
        "fromSrc": source if remote else "-",
        "changes": list(changes),
        "message": message,
        "platform": platform,
    }
    if reference:
        params["repo"], params["tag"] = references.split(reference)
    with ExitStack() as stack:
        upload = None if remote else _open(source, stack)
        answer = engine(ctx).call("POST", "/images/create", params, upload=upload, stream=True)
        with answer:
            progress.show(read(body_of(answer)), sys.stdout)


def _open(source: str, stack: ExitStack) -> Readable:
    """The file, with a bar on a terminal; `-` is standard input. Nothing is read into memory."""
    if source == "-":
        if sys.stdin.isatty():
            raise UsageProblem("import from stdin needs a pipe: `tar -c ... | wherry import - name`")
        return sys.stdin.buffer
    path = Path(source)
    try:
        file = stack.enter_context(path.open("rb"))
    except OSError as exc:
        raise UsageProblem(
            f"open {source}: {str(exc.strerror).lower()}; name a tar archive, a URL or -"
        ) from exc
    return stack.enter_context(progress.uploading(file, path.name))
