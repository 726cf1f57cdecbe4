"""`wherry logout`."""

import click

from wherry.cli.command import verb


@verb("logout")
@click.argument("server", required=False, default="")
def logout(server: str) -> None:
    """Log out from a registry; from Docker Hub without SERVER."""
    from wherry.engine.logins import HUB_KEY, Logins, server_key

    key = server_key(server)
    shown = key if key == HUB_KEY else server
    click.echo(f"Removing login credentials for {shown}")
    Logins().erase(key)
