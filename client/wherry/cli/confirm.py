"""The question before something is deleted for good."""

import click


def confirm(warning: str) -> None:
    """Returns when the answer is yes. Raises click.Abort for anything else, also for the end of the input."""
    click.echo(warning)
    if not click.confirm("Are you sure you want to continue?", default=False):
        raise click.Abort
