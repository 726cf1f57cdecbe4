"""`wherry volume create`."""

from collections.abc import Callable
from typing import Any

import click

from wherry.cli.command import engine, refused, texts, verb

#: Docker's options for volumes of a swarm.
_CLUSTER = (
    *("--availability", "--group", "--limit-bytes", "--required-bytes", "--scope", "--secret", "--sharing"),
    *("--topology-preferred", "--topology-required", "--type"),
)


def _cluster_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for name in _CLUSTER:
        function = refused(name, reason="it is for the volumes of a swarm, and this is one host")(function)
    return function


@verb("create")
@click.option("-d", "--driver", default="local", show_default=True, help="Specify volume driver name.")
@click.option("--name", "option_name", default="", hidden=True, help="Specify volume name.")
@texts("--label", "labels", help="Set metadata for a volume.")
@texts("-o", "--opt", "options", help="Set driver specific options.")
@_cluster_options
@click.argument("volume", required=False, default="")
@click.pass_context
def create(
    ctx: click.Context,
    driver: str,
    option_name: str,
    labels: tuple[str, ...],
    options: tuple[str, ...],
    volume: str,
) -> None:
    """Create a volume. Without a name it is an anonymous one."""
    from wherry.engine.parse import environment
    from wherry.errors import UsageProblem

    if option_name and volume:
        raise UsageProblem(
            "conflicting options: cannot specify a volume-name through both --name and as a positional arg"
        )
    body = {
        "Name": volume or option_name,
        "Driver": driver,
        "DriverOpts": environment.pairs(options),
        "Labels": environment.labels((), labels),
    }
    click.echo(engine(ctx).post("/volumes/create", body=body)["Name"])
