"""`wherry port`."""

from typing import Any

import click

from wherry.cli import completing
from wherry.cli.command import engine, verb
from wherry.errors import EngineProblem


@verb("port")
@click.argument("container", shell_complete=completing.running)
@click.argument("private", required=False, metavar="[PRIVATE_PORT[/PROTO]]")
@click.pass_context
def port(ctx: click.Context, container: str, private: str | None) -> None:
    """List port mappings or a specific mapping for the container."""
    from wherry.engine.client import segment

    found = engine(ctx).get(f"/containers/{segment(container)}/json")
    published: dict[str, list[dict[str, Any]] | None] = found["NetworkSettings"].get("Ports") or {}
    _warn_of_failed(ctx, published)
    if private is None:
        for line in sorted(
            f"{key} -> {_address(item)}" for key, items in published.items() for item in items or []
        ):
            click.echo(line)
        return
    key = private if "/" in private else f"{private}/tcp"
    bindings = published.get(key)
    if not bindings:
        raise EngineProblem(f"Error: No public port '{private}' published for {container}")
    for item in bindings:
        click.echo(_address(item))


def _warn_of_failed(ctx: click.Context, published: dict[str, list[dict[str, Any]] | None]) -> None:
    """Says, beside docker's own lines, which of these ports the machine's agent could not have here, or not
    on all of the loopback's addresses."""
    machine = engine(ctx).endpoint.machine
    if machine is None:
        return
    from wherry.agent import control
    from wherry.paths import paths

    wanted = {
        (int(item["HostPort"]), key.rpartition("/")[2])
        for key, items in published.items()
        for item in items or []
    }
    agent = control.ask(paths().machine(machine), {"do": "status"}) or {}
    for port in agent.get("ports", ()):
        if "reason" in port and (port["port"], port["protocol"]) in wanted:
            only = f"only forwarded on {', '.join(port.get('addresses', ()))}"
            how = "not forwarded" if port["state"] == "failed" else only
            click.echo(f"wherry: port {port['port']} of this host is {how}: {port['reason']}", err=True)


def _address(item: dict[str, Any]) -> str:
    ip = item["HostIp"]
    return f"[{ip}]:{item['HostPort']}" if ":" in ip else f"{ip}:{item['HostPort']}"
