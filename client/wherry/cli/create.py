"""`wherry create`: what `run` does before it starts."""

import os
from pathlib import Path
from typing import Any

import click

from wherry.cli import completing
from wherry.cli.command import engine, verb
from wherry.cli.main import BAD_OPTIONS
from wherry.cli.run import ClientOptions, client_options, create_container
from wherry.cli.run_options import create_options
from wherry.errors import UsageProblem


@verb("create", options_first=True, context_settings={"help_option_names": ["--help"]})
@create_options
@client_options
@click.argument("image", shell_complete=completing.images)
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND] [ARG...]")
@click.pass_context
def create(ctx: click.Context, /, name: str, cidfile: str, pull: str, quiet: bool, **options: Any) -> None:
    """Create a new container."""
    from wherry.cli import references, terminal
    from wherry.engine.create import CreateOptions, body

    wanted = CreateOptions(**options)
    mine = ClientOptions(name=name, pull=pull, quiet=quiet, cidfile=cidfile)
    try:
        references.check(options["image"])
        document = body(wanted, environ=os.environ, cwd=Path.cwd(), console_size=terminal.size())
        click.echo(create_container(engine(ctx), document, wanted, mine))
    except UsageProblem as exc:
        exc.exit_code = BAD_OPTIONS  # what the engine refuses is 1, unlike for run
        raise
