"""`wherry context create` and `update`."""

from dataclasses import replace

import click

from wherry.cli import completing
from wherry.cli.command import verb
from wherry.errors import UsageProblem

_description = click.option("--description", default=None, help="Description of the context.")
_docker = click.option(
    "--docker",
    metavar="KEY=VALUE,...",
    help="How to reach the engine: host=ADDRESS, and for TLS ca=, cert=, key= (files), skip-tls-verify=true.",
)


@verb("create")
@_description
@_docker
@click.option("--from", "source", metavar="CONTEXT", help="Create from a named context.")
@click.argument("name", metavar="CONTEXT")
def create(name: str, description: str | None, docker: str | None, source: str | None) -> None:
    """Create a context: a name for an engine."""
    from wherry.cli.context import common
    from wherry.engine.contexts import ContextStore, check_name

    store = ContextStore()
    check_name(name)
    if store.has(name):
        raise UsageProblem(f'context "{name}" already exists')
    if docker and source:
        raise UsageProblem("cannot use --docker flag when --from is set")
    made = common.read_docker(docker or f"from={source or 'default'}", name, description or "")
    if source and description is None:
        made = replace(made, description=common.named(store, source).description)
    store.save(made)
    click.echo(name)
    click.echo(f'Successfully created context "{name}"', err=True)


@verb("update")
@_description
@_docker
@click.argument("name", metavar="CONTEXT", shell_complete=completing.contexts)
def update(name: str, description: str | None, docker: str | None) -> None:
    """Update a context; what is not named stays."""
    from wherry.cli.context import common
    from wherry.engine.contexts import ContextStore, check_name

    store = ContextStore()
    check_name(name)
    known = store.get(name)
    text = known.description if description is None else description
    changed = common.read_docker(docker, name, text) if docker else replace(known, description=text)
    store.save(changed)
    click.echo(name)
    click.echo(f'Successfully updated context "{name}"', err=True)
