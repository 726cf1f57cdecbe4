"""`wherry push`."""

import sys
from typing import TYPE_CHECKING

import click

from wherry.cli import completing, progress, references
from wherry.cli.command import content_trust, engine, flag, verb
from wherry.errors import UsageProblem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wherry.engine.progress import Progress


@verb("push")
@flag("-a", "--all-tags", help="Push all tags of an image to the repository.")
@click.option("--platform", help="Push a platform-specific manifest.")
@flag("-q", "--quiet", help="Suppress verbose output.")
@content_trust
@click.argument("name", metavar="NAME[:TAG]", shell_complete=completing.images)
@click.pass_context
def push(ctx: click.Context, all_tags: bool, platform: str | None, quiet: bool, name: str) -> None:
    """Upload an image to a registry."""
    from wherry.engine.client import body_of, segment
    from wherry.engine.logins import Logins
    from wherry.engine.progress import read

    if "@" in name:
        raise UsageProblem("cannot push a digest reference; give a name and a tag")
    references.check(name)
    bare, tag = references.split(name)
    if all_tags:
        if bare != name:
            raise UsageProblem("tag can't be used with --all-tags/-a; leave one of them out")
        tag = ""
    elif bare == name and not quiet:
        click.echo(f"Using default tag: {tag}")
    headers = Logins().header_for(references.domain(bare))
    params = {"tag": tag, "platform": references.platform(platform) if platform else None}
    path = f"/images/{segment(bare)}/push"
    with engine(ctx).call("POST", path, params, headers=headers, stream=True) as answer:
        notes: list[str] = []
        lines = _noting(read(body_of(answer)), notes)
        progress.follow(lines, None if quiet else sys.stdout)
    for note in notes:
        click.echo(note, err=True)
    if quiet:
        click.echo(references.canonical(bare, tag))


def _noting(lines: "Iterable[Progress]", notes: list[str]) -> "Iterator[Progress]":
    """The same lines; what the engine says about an index that it did not push goes to notes."""
    for line in lines:
        if isinstance(line.aux, dict) and line.aux.get("manifestPushedInsteadOfIndex"):
            index, pushed = line.aux["originalIndex"]["digest"], line.aux["selectedManifest"]["digest"]
            notes.append(
                "not all multiplatform-content is present, and only the available single-platform image was "
                f"pushed: {index} -> {pushed} (hint: pull the other platforms first, or name one with "
                "--platform)"
            )
        yield line
