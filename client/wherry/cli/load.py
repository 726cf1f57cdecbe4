"""`wherry load`."""

import sys
from contextlib import ExitStack
from pathlib import Path

import click

from wherry.cli import progress, references
from wherry.cli.command import engine, flag, verb
from wherry.engine.client import Readable, body_of
from wherry.engine.progress import read
from wherry.errors import UsageProblem


@verb("load")
@click.option("-i", "--input", "file", type=click.Path(path_type=Path), help="Read from a tar archive file.")
@click.option("--platform", help="Load only the given platform variant.")
@flag("-q", "--quiet", help="Suppress the load output.")
@click.pass_context
def load(ctx: click.Context, file: Path | None, platform: str | None, quiet: bool) -> None:
    """Load images from a tar archive or STDIN."""
    with ExitStack() as stack:
        if file is None:
            if sys.stdin.isatty():
                raise UsageProblem("requested load from stdin, but stdin is empty; use -i FILE or a pipe")
            upload: Readable = sys.stdin.buffer
        else:
            try:
                source = stack.enter_context(file.open("rb"))
            except OSError as exc:
                raise UsageProblem(
                    f"open {file}: {str(exc.strerror).lower()}; name a tar archive with -i"
                ) from exc
            upload = stack.enter_context(progress.uploading(source, file.name))
        answer = engine(ctx).call(
            "POST",
            "/images/load",
            {
                "quiet": True if quiet else None,
                "platform": references.platform(platform) if platform else None,
            },
            upload=upload,
            stream=True,
        )
        with answer:
            progress.show(read(body_of(answer)), sys.stdout)
