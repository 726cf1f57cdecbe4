"""`wherry history`."""

import click

from wherry.cli import completing
from wherry.cli.command import engine, flag, print_text, verb


@verb("history")
@click.option("--format", "form", help="table, json or a Go template.")
@flag("-H", "--human", default=True, help="Print sizes and dates in human readable format (default true).")
@flag("--no-trunc", help="Don't truncate output.")
@click.option("--platform", help="Show history for the given platform: os[/arch[/variant]].")
@flag("-q", "--quiet", help="Only show image IDs.")
@click.argument("image", shell_complete=completing.images)
@click.pass_context
def history(
    ctx: click.Context,
    form: str | None,
    human: bool,
    no_trunc: bool,
    platform: str | None,
    quiet: bool,
    image: str,
) -> None:
    """Show the history of an image."""
    from wherry.cli import references
    from wherry.cli.output.format import choose, render
    from wherry.cli.output.history import HEADERS, rows
    from wherry.engine.client import segment

    when = "CreatedSince" if human else "CreatedAt"
    chosen = choose(form, columns=("ID", when, "CreatedBy", "Size", "Comment"), quiet=quiet)
    params = {"platform": references.platform(platform) if platform else None}
    found = engine(ctx).get(f"/images/{segment(image)}/history", params)
    print_text(render(chosen, rows(found, truncate=not no_trunc, human=human), HEADERS))
