"""`wherry`: the root command. Loads only the verb that was asked for, so that start-up stays short."""

import importlib
import sys
from collections.abc import Mapping
from typing import cast

import click

from wherry.errors import WherryError

#: verb -> module:attribute of its click command.
COMMANDS: Mapping[str, str] = {
    "machine": "wherry.cli.machine.group:machine",
    "agent": "wherry.cli.machine.agent:agent",  # hidden; how the host agent starts itself
    "attach": "wherry.cli.attach:attach",
    "build": "wherry.cli.build:build",
    "create": "wherry.cli.create:create",
    "exec": "wherry.cli.exec:exec_",
    "images": "wherry.cli.images:images",
    "import": "wherry.cli.import_:import_",
    "info": "wherry.cli.info:info",
    "inspect": "wherry.cli.inspect:inspect",
    "kill": "wherry.cli.kill:kill",
    "load": "wherry.cli.load:load",
    "login": "wherry.cli.login:login",
    "logout": "wherry.cli.logout:logout",
    "logs": "wherry.cli.logs:logs",
    "network": "wherry.cli.network.group:network",
    "pause": "wherry.cli.pause:pause",
    "port": "wherry.cli.port:port",
    "ps": "wherry.cli.ps:ps",
    "pull": "wherry.cli.pull:pull",
    "push": "wherry.cli.push:push",
    "rename": "wherry.cli.rename:rename",
    "restart": "wherry.cli.restart:restart",
    "rm": "wherry.cli.rm:rm",
    "rmi": "wherry.cli.rmi:rmi",
    "run": "wherry.cli.run:run",
    "save": "wherry.cli.save:save",
    "search": "wherry.cli.search:search",
    "start": "wherry.cli.start:start",
    "stop": "wherry.cli.stop:stop",
    "tag": "wherry.cli.tag:tag",
    "top": "wherry.cli.top:top",
    "unpause": "wherry.cli.unpause:unpause",
    "version": "wherry.cli.version:version",
    "volume": "wherry.cli.volume.group:volume",
    "wait": "wherry.cli.wait:wait",
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are looked up."""

    def __init__(self, *args: object, lazy: Mapping[str, str], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # click's own keyword arguments
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return sorted(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        target = self._lazy.get(cmd_name)
        if target is None:
            return None
        module, _, attribute = target.partition(":")
        return cast(click.Command, getattr(importlib.import_module(module), attribute))


@click.group(cls=LazyGroup, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-H", "--host", metavar="URL", help="Engine to talk to (unix:///path or tcp://host:port).")
@click.pass_context
def wherry(ctx: click.Context, host: str | None) -> None:
    """Real Linux containers, in a light VM that you do not have to think about."""
    ctx.obj = host


def main() -> None:
    """Runs the command; the one place where an error becomes an exit status."""
    try:
        # Verbs give their exit status (a container's own, or 1 if one of several names failed).
        status = wherry.main(prog_name="wherry", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        sys.exit(130)
    except click.ClickException as exc:
        exc.show()
        sys.exit(exc.exit_code)
    except WherryError as exc:
        # Notes are what went wrong while cleaning up after the error.
        click.echo("\n".join([f"wherry: {exc}", *getattr(exc, "__notes__", ())]), err=True)
        sys.exit(exc.exit_code)
    sys.exit(status if isinstance(status, int) else 0)
