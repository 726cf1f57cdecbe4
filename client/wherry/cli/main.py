"""`wherry`: the root command. Loads only the verb that was asked for, so that start-up stays short."""

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import IO, Any, cast

import click

from wherry.errors import EngineProblem, UsageProblem, WherryError

#: Docker's exit status for a command line that cannot be read, and of `run` if the engine refuses.
BAD_OPTIONS = 125

#: Set for the rest of the call by --debug.
DEBUG = "WHERRY_DEBUG"

#: Docker's groups that Wherry does not have, and why.
_ONE_HOST = "Wherry runs containers on one host, not on a swarm"
ABSENT: Mapping[str, str] = {
    **dict.fromkeys(("config", "node", "secret", "service", "stack", "swarm"), _ONE_HOST),
    "buildx": "`wherry build` builds everything that buildx does on one host",
    "checkpoint": "checkpoints are experimental in docker, and not available",
    "compose": "set DOCKER_HOST to the machine's address and use docker-compose",
    "manifest": "it is experimental in docker; use skopeo or crane",
    "plugin": "plug-ins are not available",
    "volume update": _ONE_HOST,
    "trust": "signed images are not available; pull by digest instead",
}

#: verb -> module:attribute of its click command.
COMMANDS: Mapping[str, str] = {
    "machine": "wherry.cli.machine.group:machine",
    "agent": "wherry.cli.machine.agent:agent",  # hidden; how the host agent starts itself
    "attach": "wherry.cli.attach:attach",
    "build": "wherry.cli.build:build",
    "builder": "wherry.cli.builder.group:builder",
    "commit": "wherry.cli.commit:commit",
    "completion": "wherry.cli.completion.verb:completion",
    "container": "wherry.cli.container.group:container",
    "context": "wherry.cli.context.group:context",
    "cp": "wherry.cli.cp:cp",
    "create": "wherry.cli.create:create",
    "diff": "wherry.cli.diff:diff",
    "events": "wherry.cli.events:events",
    "exec": "wherry.cli.exec:exec_",
    "export": "wherry.cli.export:export",
    "help": "wherry.cli.help:help_",
    "history": "wherry.cli.history:history",
    "image": "wherry.cli.image.group:image",
    "images": "wherry.cli.images:images",
    "import": "wherry.cli.import_:import_",
    "info": "wherry.cli.info:info",
    "insert": "wherry.cli.insert:insert",
    "inspect": "wherry.cli.inspect:inspect",
    "kill": "wherry.cli.kill:kill",
    "load": "wherry.cli.load:load",
    "login": "wherry.cli.login:login",
    "logout": "wherry.cli.logout:logout",
    "logs": "wherry.cli.logs:logs",
    "man": "wherry.cli.man:man",
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
    "stats": "wherry.cli.stats:stats",
    "stop": "wherry.cli.stop:stop",
    "system": "wherry.cli.system.group:system",
    "tag": "wherry.cli.tag:tag",
    "top": "wherry.cli.top:top",
    "unpause": "wherry.cli.unpause:unpause",
    "update": "wherry.cli.update:update",
    "version": "wherry.cli.version:version",
    "volume": "wherry.cli.volume.group:volume",
    "wait": "wherry.cli.wait:wait",
}


class UnknownVerb(click.UsageError):
    """A verb that is not there; with the likeliest one that is."""

    exit_code = 1

    def __init__(self, group: click.Group, ctx: click.Context, name: str) -> None:
        super().__init__(f"unknown command: {ctx.command_path} {name}", ctx)
        self._known = group.list_commands(ctx)
        self._name = name

    def show(self, file: IO[Any] | None = None) -> None:
        import difflib

        path = self.ctx.command_path if self.ctx else "wherry"
        likely = difflib.get_close_matches(self._name, self._known, n=1)
        hint = f"; did you mean '{path} {likely[0]}'?" if likely else ""
        reason = ABSENT.get(f"{path} {self._name}".partition(" ")[2])
        if reason:
            hint = f"; {reason}"
        usage = f"Usage:  {path}\n\n" if self.ctx and self.ctx.parent else ""
        text = f"wherry: {self.message}{hint}\n\n{usage}Run '{path} --help' for more information"
        click.echo(text, file=file or sys.stderr)


class LazyGroup(click.Group):
    """A group whose commands are imported when they are looked up."""

    def __init__(
        self,
        *args: object,
        lazy: Mapping[str, str],
        aliases: Mapping[str, str] = MappingProxyType({}),
        **kwargs: object,
    ) -> None:
        """lazy: verb -> module:attribute. aliases: second name -> verb; they are not listed."""
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # click's own keyword arguments
        self.invoke_without_command = True
        self.no_args_is_help = False
        self.lazy = lazy
        self.aliases = aliases

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return sorted(self.lazy)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Raises UsageError in docker's words."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as exc:
            from wherry.cli.command import in_dockers_words

            raise in_dockers_words(exc, self, exc.ctx or ctx) from exc

    def invoke(self, ctx: click.Context) -> Any:
        """Help that nobody asked for goes to stderr, and is no failure, as docker has it."""
        value = super().invoke(ctx)
        if ctx.invoked_subcommand is None:
            click.echo(self.get_help(ctx), err=True)
        return value

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if self.get_command(ctx, args[0]) is None and not ctx.resilient_parsing:
            raise UnknownVerb(self, ctx, args[0])
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        target = self.lazy.get(self.aliases.get(cmd_name, cmd_name))
        if target is None:
            return None
        module, _, attribute = target.partition(":")
        return cast(click.Command, getattr(importlib.import_module(module), attribute))

    def get_help(self, ctx: click.Context) -> str:
        from wherry.cli import helptext

        return helptext.text(self, ctx)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """What docker's client says for a group in a complaint; its help says COMMAND too."""
        return [] if ctx.parent else ["[OPTIONS]", "COMMAND", "[ARG...]"]


def _show_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:  # noqa: ARG001
    if value:
        from wherrywire.version import __version__

        click.echo(f"Wherry version {__version__}")
        ctx.exit(0)


_TLS_OPTIONS = (
    click.option("--tls", is_flag=True, default=None, help="Use TLS; implied by --tlsverify."),
    click.option(
        "--tlscacert", metavar="FILE", help="Trust certs signed only by this CA (~/.docker/ca.pem)."
    ),
    click.option("--tlscert", metavar="FILE", help="Path to TLS certificate file (~/.docker/cert.pem)."),
    click.option("--tlskey", metavar="FILE", help="Path to TLS key file (~/.docker/key.pem)."),
    click.option("--tlsverify", is_flag=True, default=None, help="Use TLS and verify the remote."),
)


def _tls_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_TLS_OPTIONS):
        function = option(function)
    return function


@click.group(cls=LazyGroup, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", metavar="DIR", help="Folder of docker's config.json (default ~/.docker).")
@click.option("-c", "--context", metavar="NAME", help="Context that names the engine (see `wherry context`).")
@click.option("-D", "--debug", is_flag=True, help="Show where in the client an error comes from.")
@click.option("-H", "--host", metavar="URL", help="Engine to talk to (unix://, tcp://, ssh://).")
@click.option(
    "-l",
    "--log-level",
    type=click.Choice(["debug", "info", "warn", "error", "fatal"]),
    default="info",
    help="debug is --debug; the client logs nothing else.",
)
@click.option(
    "-v",
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Print version information and quit.",
)
@_tls_options
def wherry(config: str | None, debug: bool, log_level: str, **_engine: Any) -> None:
    """Real Linux containers, in a light VM that you do not have to think about."""
    if config:
        os.environ["DOCKER_CONFIG"] = config  # for credential helpers too
    if debug or log_level == "debug":
        os.environ[DEBUG] = "1"


def main() -> None:
    """Runs the command; the one place where an error becomes an exit status."""
    if os.environ.get("_WHERRY_COMPLETE", "").startswith("powershell"):
        from wherry.cli.completion.powershell import register

        register()
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
        if os.environ.get(DEBUG):
            import traceback

            traceback.print_exc()
        # Shown as docker shows it, which scripts look for: run and create say who speaks, and so does what
        # docker has no word for. Notes are what went wrong while cleaning up after the error.
        text = str(exc)
        bare = isinstance(exc, UsageProblem | EngineProblem) and exc.exit_code < BAD_OPTIONS
        click.echo("\n".join([text if bare else f"wherry: {text}", *getattr(exc, "__notes__", ())]), err=True)
        sys.exit(exc.exit_code)
    sys.exit(status if isinstance(status, int) else 0)
