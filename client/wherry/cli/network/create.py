"""`wherry network create`."""

from typing import Any

import click

from wherry.cli.command import engine, flag, texts, verb


@verb("create")
@flag("--attachable", help="Enable manual container attachment.")
@texts("--aux-address", help="Auxiliary IPv4 or IPv6 addresses used by Network driver (name=address).")
@click.option("--config-from", default="", help="The network from which to copy the configuration.")
@flag("--config-only", help="Create a configuration only network.")
@click.option("-d", "--driver", default="bridge", show_default=True, help="Driver to manage the Network.")
@texts("--gateway", help="IPv4 or IPv6 Gateway for the master subnet.")
@flag("--ingress", help="Create swarm routing-mesh network.")
@flag("--internal", help="Restrict external access to the network.")
@texts("--ip-range", help="Allocate container ip from a sub-range.")
@click.option("--ipam-driver", default="default", show_default=True, help="IP Address Management Driver.")
@texts("--ipam-opt", help="Set IPAM driver specific options.")
@flag("--ipv4", default=None, help="Enable or disable IPv4 address assignment.")
@flag("--ipv6", default=None, help="Enable or disable IPv6 address assignment.")
@texts("--label", "labels", help="Set metadata on a network.")
@texts("-o", "--opt", "options", help="Set driver specific options.")
@click.option("--scope", default="", help="Control the network's scope.")
@texts("--subnet", help="Subnet in CIDR format that represents a network segment.")
@click.argument("network")
@click.pass_context
def create(ctx: click.Context, /, network: str, **given: Any) -> None:
    """Create a network."""
    from wherry.engine.parse import environment, ipam

    blocks = ipam.blocks(
        subnets=given["subnet"],
        ranges=given["ip_range"],
        gateways=given["gateway"],
        auxiliary=environment.strict_pairs(given["aux_address"], "--aux-address"),
    )
    body: dict[str, Any] = {
        "Name": network,
        "Driver": given["driver"],
        "Scope": given["scope"],
        "Internal": given["internal"],
        "Attachable": given["attachable"],
        "Ingress": given["ingress"],
        "ConfigOnly": given["config_only"],
        "Options": environment.pairs(given["options"]),
        "Labels": environment.labels((), given["labels"]),
        "IPAM": {
            "Driver": given["ipam_driver"],
            "Options": environment.strict_pairs(given["ipam_opt"], "--ipam-opt"),
            "Config": blocks,
        },
    }
    if given["config_from"]:
        body["ConfigFrom"] = {"Network": given["config_from"]}
    versions = {"EnableIPv4": given["ipv4"], "EnableIPv6": given["ipv6"]}
    body |= {key: value for key, value in versions.items() if value is not None}
    click.echo(engine(ctx).post("/networks/create", body=body)["Id"])
