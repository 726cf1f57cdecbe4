"""`wherry pull`."""

import sys
from typing import TYPE_CHECKING

import click

from wherry.cli import completing, progress, references
from wherry.cli.command import content_trust, engine, flag, verb
from wherry.errors import UsageProblem

if TYPE_CHECKING:
    from typing import TextIO

    from wherry.engine.client import EngineClient


@verb("pull")
@flag("-a", "--all-tags", help="Download all tagged images in the repository.")
@click.option("--platform", help="Set platform if server is multi-platform capable.")
@flag("-q", "--quiet", help="Suppress verbose output.")
@content_trust
@click.argument("name", metavar="NAME[:TAG|@DIGEST]", shell_complete=completing.images)
@click.pass_context
def pull(ctx: click.Context, all_tags: bool, platform: str | None, quiet: bool, name: str) -> None:
    """Download an image from a registry."""
    references.check(name)
    bare, tag = references.split(name)
    if all_tags:
        if bare != name:
            raise UsageProblem("tag can't be used with --all-tags/-a; leave one of them out")
        tag = ""
    elif bare == name and not quiet:
        click.echo(f"Using default tag: {tag}")
    fetch(engine(ctx), bare, tag, platform=platform, out=None if quiet else sys.stdout)
    click.echo(references.canonical(bare, tag))


def fetch(client: "EngineClient", name: str, tag: str, *, platform: str | None, out: "TextIO | None") -> None:
    """Pulls, as whom the user is logged in to that registry. out None: nothing is shown but an error."""
    from wherry.engine.client import body_of
    from wherry.engine.logins import Logins
    from wherry.engine.progress import read

    headers = Logins().header_for(references.domain(name))
    params = {"fromImage": name, "tag": tag, "platform": platform or None}
    with client.call("POST", "/images/create", params, headers=headers, stream=True) as answer:
        progress.follow(read(body_of(answer)), out)
