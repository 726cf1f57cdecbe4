"""`wherry system df`."""

import click

from wherry.cli.command import engine, flag, print_text, verb

COLUMNS = ("Type", "TotalCount", "Active", "Size", "Reclaimable")


@verb("df")
@click.option("--format", "form", help="table, json or a Go template.")
@flag("-v", "--verbose", help="Show detailed information on space usage.")
@click.pass_context
def df(ctx: click.Context, form: str | None, verbose: bool) -> None:
    """Show disk usage of images, containers, volumes and build cache."""
    from wherry.cli.output.format import choose, render
    from wherry.cli.output.usage import HEADERS, RAW, summary

    if verbose:
        from wherry.cli.output.usage_details import show

        print_text(show(engine(ctx).get("/system/df"), form))
        return
    chosen = choose(form, columns=COLUMNS, quiet=False, raw=RAW)
    print_text(render(chosen, summary(engine(ctx).get("/system/df")), HEADERS))
