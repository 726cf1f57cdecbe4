"""`wherry context ls`."""

import click

from wherry.cli.command import current_context, flag, print_text, verb

_COLUMNS = ("Name", "Description", "DockerEndpoint", "Error")
_HEADERS = {
    "Name": "NAME",
    "Description": "DESCRIPTION",
    "DockerEndpoint": "DOCKER ENDPOINT",
    "Current": "CURRENT",
    "Error": "ERROR",
}
#: Characters of a description or an error in the table, as docker has it.
_WIDTH = 60


@verb("ls")
@click.option("--format", "form", help="table, json or a Go template.")
@flag("-q", "--quiet", help="Only show context names.")
@click.pass_context
def list_(ctx: click.Context, form: str | None, quiet: bool) -> None:
    """List contexts."""
    from wherry.cli.context import common
    from wherry.cli.output.format import choose, render
    from wherry.cli.output.table import ellipsis
    from wherry.cli.output.values import Row
    from wherry.engine.contexts import ContextStore

    used = current_context(ctx)
    contexts = [common.default(), *ContextStore().all()]
    names = [context.name for context in contexts]
    if (variable := common.overriding()) is not None:
        click.echo(
            f"Warning: {variable} environment variable overrides the active context. To use a context, "
            f"either set the global --context flag, or unset {variable} environment variable.",
            err=True,
        )
    if quiet:
        print_text("".join(f"{name}\n" for name in names))
        return
    chosen = choose(form, columns=_COLUMNS, quiet=False)
    rows = []
    for context in contexts:
        text = common.DEFAULT_DESCRIPTION if context.name == "default" else context.description
        row = {
            "Current": context.name == used,
            "Description": ellipsis(text, _WIDTH) if chosen.table else text,
            "DockerEndpoint": context.host,
            "Error": "",
            "Name": f"{context.name} *" if chosen.table and context.name == used else context.name,
        }
        rows.append(Row(row))
    if used not in names:
        problem = "context not found; use another with `wherry context use`"
        rows.append(
            Row(
                {
                    "Current": True,
                    "Description": "",
                    "DockerEndpoint": "",
                    "Error": ellipsis(problem, _WIDTH) if chosen.table else problem,
                    "Name": f"{used} *" if chosen.table else used,
                }
            )
        )
    print_text(render(chosen, rows, _HEADERS))
