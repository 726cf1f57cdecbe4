"""`wherry search`."""

from typing import Any

import click

from wherry.cli import references
from wherry.cli.command import engine, filters_option, flag, print_text, verb

COLUMNS = ("Name", "Description", "StarCount", "IsOfficial")


@verb("search")
@filters_option
@click.option("--format", "form", help="Pretty-print search using a Go template.")
@click.option("--limit", type=int, default=0, help="Max number of search results.")
@flag("--no-trunc", help="Don't truncate output.")
@click.argument("term")
@click.pass_context
def search(
    ctx: click.Context,
    filters: list[tuple[str, str]],
    form: str | None,
    limit: int,
    no_trunc: bool,
    term: str,
) -> None:
    """Search a registry for images; HOST/TERM asks another one than Docker Hub."""
    from wherry.cli.output.format import choose, render
    from wherry.cli.output.search import HEADERS, rows
    from wherry.engine.client import filters as encoded
    from wherry.engine.logins import Logins

    chosen = choose(form, columns=COLUMNS, quiet=False)
    params: dict[str, Any] = {"term": term, "limit": limit or None, "filters": encoded(filters)}
    headers = Logins().header_for(references.domain(term))
    found = engine(ctx).call("GET", "/images/search", params, headers=headers).json()
    print_text(render(chosen, rows(found, truncate=not no_trunc), HEADERS))
