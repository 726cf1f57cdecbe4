"""`wherry context use` and `show`."""

import os

import click

from wherry.cli import completing
from wherry.cli.command import current_context, verb


@verb("use")
@click.argument("name", metavar="CONTEXT", shell_complete=completing.contexts)
def use(name: str) -> None:
    """Set the current context, for the docker command too."""
    from wherry.engine.contexts import ContextStore
    from wherry.engine.endpoint import DEFAULT_CONTEXT
    from wherry.engine.logins import Logins

    if name != DEFAULT_CONTEXT:
        ContextStore().get(name)
    Logins().set_current_context("" if name == DEFAULT_CONTEXT else name)
    click.echo(name)
    click.echo(f'Current context is now "{name}"', err=True)
    for variable in ("WHERRY_HOST", "DOCKER_HOST"):
        if os.environ.get(variable) and name != DEFAULT_CONTEXT:
            click.echo(
                f"Warning: {variable} environment variable overrides the active context. "
                f'To use "{name}", either set the global --context flag, or unset {variable} '
                "environment variable.",
                err=True,
            )


@verb("show")
@click.pass_context
def show(ctx: click.Context) -> None:
    """Print the name of the current context."""

    click.echo(current_context(ctx))
