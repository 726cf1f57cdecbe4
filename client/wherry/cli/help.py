"""`wherry help`: the same text as `--help`."""

import click

from wherry.cli.command import verb
from wherry.errors import UsageProblem


@verb("help", options_first=True)
@click.argument("words", nargs=-1, metavar="[COMMAND...]")
@click.pass_context
def help_(ctx: click.Context, words: tuple[str, ...]) -> None:
    """Help about a command."""
    root = ctx.find_root()
    command, context = root.command, click.Context(root.command, info_name=root.info_name)
    for word in words:
        inner = command.get_command(context, word) if isinstance(command, click.Group) else None
        if inner is None:
            raise UsageProblem(f"unknown help topic: {' '.join(words)}; see `wherry help`")
        command, context = inner, click.Context(inner, info_name=word, parent=context)
    click.echo(command.get_help(context))
