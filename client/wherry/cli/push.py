"""`wherry push`."""

import sys

import click

from wherry.cli import completing, progress, references
from wherry.cli.command import content_trust, engine, flag, verb
from wherry.errors import UsageProblem


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
        progress.follow(read(body_of(answer)), None if quiet else sys.stdout)
    if quiet:
        click.echo(references.canonical(bare, tag))
