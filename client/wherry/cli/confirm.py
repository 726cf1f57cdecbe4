"""The question before something is deleted for good."""

import sys

import click

QUESTION = "Are you sure you want to continue?"


def confirm(warning: str, question: str = QUESTION) -> None:
    """Returns when the answer is yes; anything else, also no answer, ends the command with status 0.

    As Docker does it: nothing was asked for that was not done. Raises click.exceptions.Exit.
    """
    if warning:
        click.echo(warning)
    click.echo(f"{question} [y/N] ", nl=False)
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise click.exceptions.Exit(0)
