"""`wherry network connect` and `disconnect`."""

from typing import Any

import click

from wherry.cli import completing
from wherry.cli.command import engine, flag, texts, verb


@verb("connect")
@texts("--alias", "aliases", help="Add network-scoped alias for the container.")
@texts("--driver-opt", "driver_opts", help="Driver options for the network.")
@click.option("--gw-priority", type=int, default=0, help="Highest gw-priority provides the default gateway.")
@click.option("--ip", default="", help="IPv4 address.")
@click.option("--ip6", default="", help="IPv6 address.")
@texts("--link", "links", help="Add link to another container.")
@texts("--link-local-ip", "link_local", help="Add a link-local address for the container.")
@click.argument("network", shell_complete=completing.networks)
@click.argument("container", shell_complete=completing.containers)
@click.pass_context
def connect(
    ctx: click.Context,
    aliases: tuple[str, ...],
    driver_opts: tuple[str, ...],
    gw_priority: int,
    ip: str,
    ip6: str,
    links: tuple[str, ...],
    link_local: tuple[str, ...],
    network: str,
    container: str,
) -> None:
    """Connect a container to a network."""
    from wherry.engine.client import segment
    from wherry.engine.parse import environment

    ipam: dict[str, Any] = {"IPv4Address": ip, "IPv6Address": ip6, "LinkLocalIPs": list(link_local)}
    settings: dict[str, Any] = {
        "Aliases": list(aliases),
        "DriverOpts": environment.strict_pairs(driver_opts, "--driver-opt"),
        "GwPriority": gw_priority,
        "IPAMConfig": {key: value for key, value in ipam.items() if value},
        "Links": list(links),
    }
    given = {key: value for key, value in settings.items() if value}
    body = {"Container": container, "EndpointConfig": given}
    engine(ctx).post(f"/networks/{segment(network)}/connect", body=body)


@verb("disconnect")
@flag("-f", "--force", help="Force the container to disconnect from a network.")
@click.argument("network", shell_complete=completing.networks)
@click.argument("container", shell_complete=completing.containers)
@click.pass_context
def disconnect(ctx: click.Context, force: bool, network: str, container: str) -> None:
    """Disconnect a container from a network."""
    from wherry.engine.client import segment

    body = {"Container": container, "Force": force}
    engine(ctx).post(f"/networks/{segment(network)}/disconnect", body=body)
