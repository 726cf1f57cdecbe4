"""`wherry top`."""

import click

from wherry.cli import completing
from wherry.cli.command import engine, print_text, verb


@verb("top", options_first=True)
@click.argument("container", shell_complete=completing.running)
@click.argument("ps_options", nargs=-1, type=click.UNPROCESSED, metavar="[ps OPTIONS]")
@click.pass_context
def top(ctx: click.Context, container: str, ps_options: tuple[str, ...]) -> None:
    """Display the running processes of a container."""
    from wherry.cli.output.table import align
    from wherry.engine.client import segment

    params = {"ps_args": " ".join(ps_options) or None}
    found = engine(ctx).get(f"/containers/{segment(container)}/top", params)
    lines = ["\t".join(cells) for cells in [found["Titles"], *found["Processes"]]]
    # Docker's table for this one verb: wider columns.
    print_text(align("\n".join(lines) + "\n", min_width=20))
