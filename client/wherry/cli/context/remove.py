"""`wherry context rm`."""

import click

from wherry.cli import completing
from wherry.cli.command import current_context, flag, verb
from wherry.errors import UsageProblem


@verb("rm")
@flag("-f", "--force", help="Remove a context in use, too, and do not mind one that is not there.")
@click.argument("names", nargs=-1, required=True, metavar="CONTEXT...", shell_complete=completing.contexts)
@click.pass_context
def remove(ctx: click.Context, names: tuple[str, ...], force: bool) -> int:
    """Remove one or more contexts."""
    from wherry.engine.contexts import ContextStore
    from wherry.engine.logins import Logins

    store = ContextStore()
    used = current_context(ctx)
    status = 0
    for name in names:
        try:
            if name == "default":
                raise UsageProblem('context "default" cannot be removed')
            if name == used and not force:
                raise UsageProblem(f'context "{name}" is in use, set -f flag to force remove')
            if not (store.has(name) or force):
                raise UsageProblem(f'context "{name}" does not exist')
            if store.has(name):
                store.remove(name)
            if name == used:
                Logins().set_current_context("")
        except UsageProblem as exc:
            click.echo(exc, err=True)
            status = 1
        else:
            click.echo(name)
    return status
