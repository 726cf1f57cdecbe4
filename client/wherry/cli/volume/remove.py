"""`wherry volume rm` and `prune`."""

import click

from wherry.cli.command import each, engine, filters_option, flag, verb

WARNING = "WARNING! This will remove anonymous local volumes not used by at least one container."
WARNING_ALL = "WARNING! This will remove all local volumes not used by at least one container."


@verb("rm")
@flag("-f", "--force", help="Force the removal of one or more volumes.")
@click.argument("volumes", nargs=-1, required=True, metavar="VOLUME...")
@click.pass_context
def rm(ctx: click.Context, force: bool, volumes: tuple[str, ...]) -> int:
    """Remove one or more volumes."""
    from wherry.engine.client import segment

    client = engine(ctx)
    return each(volumes, lambda name: client.delete(f"/volumes/{segment(name)}", {"force": force or None}))


@verb("prune")
@flag("-a", "--all", "every", help="Remove all unused volumes, not just anonymous ones.")
@filters_option
@flag("-f", "--force", help="Do not prompt for confirmation.")
@click.pass_context
def prune(ctx: click.Context, every: bool, filters: list[tuple[str, str]], force: bool) -> None:
    """Remove unused local volumes."""
    from wherry.cli.confirm import confirm
    from wherry.cli.output import units
    from wherry.engine.client import filters as encoded

    if not force:
        confirm(WARNING_ALL if every else WARNING)
    wanted = [*filters, ("all", "true")] if every else filters
    report = engine(ctx).post("/volumes/prune", {"filters": encoded(wanted)})
    deleted = report.get("VolumesDeleted") or []
    if deleted:
        click.echo("Deleted Volumes:\n" + "\n".join(deleted) + "\n")
    click.echo(f"Total reclaimed space: {units.size(report.get('SpaceReclaimed') or 0)}")
