"""`wherry context inspect`."""

import click

from wherry.cli import completing
from wherry.cli.command import current_context, print_text, verb
from wherry.errors import UsageProblem


@verb("inspect")
@click.option("-f", "--format", "form", help="json or a Go template.")
@click.argument("names", nargs=-1, metavar="[CONTEXT...]", shell_complete=completing.contexts)
@click.pass_context
def inspect(ctx: click.Context, form: str | None, names: tuple[str, ...]) -> int:
    """Display detailed information on contexts; without a name, on the current one."""
    from wherry.cli.context import common
    from wherry.cli.inspect import dump, parse_template, render
    from wherry.engine.contexts import ContextStore

    template = parse_template(form) if form and form != "json" else None
    store = ContextStore()
    found, problems = [], []
    for name in names or (current_context(ctx),):
        try:
            found.append(common.document(store, common.named(store, name)))
        except UsageProblem as exc:
            problems.append(str(exc))
    if template is not None:
        print_text("".join(render(template, each) for each in found) or "\n")
    else:
        print_text(_escaped(dump(found, compact=form == "json")))
    for problem in problems:
        click.echo(problem, err=True)
    return 1 if problems else 0


def _escaped(document: str) -> str:
    """As Go writes JSON: safe inside HTML."""
    for char in "<>&":
        document = document.replace(char, f"\\u{ord(char):04x}")
    return document
