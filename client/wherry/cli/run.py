"""`wherry run`: create, attach, wait, start, resize; exit statuses are Docker's."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wherry.cli import completing
from wherry.cli.command import engine, flag, verb
from wherry.cli.main import BAD_OPTIONS
from wherry.cli.run_options import create_options
from wherry.errors import BadValue, EngineProblem, NoTerminal, UsageProblem, WherryError

if TYPE_CHECKING:
    from wherry.engine.client import EngineClient
    from wherry.engine.create import CreateOptions

#: What in an engine's message means "no such program" (127) and "not executable" (126), as Docker reads it.
NOT_FOUND = (
    "executable file not found",
    "no such file or directory",
    "system cannot find the file specified",
)
NOT_EXECUTABLE = ("permission denied", "is a directory")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """What concerns the client alone, of run and create."""

    name: str
    pull: str
    quiet: bool
    cidfile: str


def client_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Puts the options of ClientOptions on a command."""
    for option in (
        flag("-q", "--quiet", help="Suppress the pull output."),
        click.option(
            "--pull",
            type=click.Choice(["always", "missing", "never"]),
            default="missing",
            help="Pull image before running.",
        ),
        click.option("--cidfile", default="", help="Write the container ID to the file."),
        click.option("--name", default="", help="Assign a name to the container."),
    ):
        function = option(function)
    return function


@verb("run", options_first=True, context_settings={"help_option_names": ["--help"]})
@create_options
@client_options
@flag("-d", "--detach", help="Run container in background and print container ID.")
@click.option("--detach-keys", default="", help="Override the key sequence for detaching a container.")
@flag("--sig-proxy", default=True, help="Proxy received signals to the process (default true).")
@click.argument("image", shell_complete=completing.images)
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND] [ARG...]")
@click.pass_context
def run(
    ctx: click.Context,
    /,
    name: str,
    cidfile: str,
    detach_keys: str,
    pull: str,
    quiet: bool,
    sig_proxy: bool,
    **options: Any,
) -> int:
    """Create and run a new container from an image."""
    from wherry.engine.create import CreateOptions

    mine = ClientOptions(name=name, pull=pull, quiet=quiet, cidfile=cidfile)
    if options["detach"] and options["attach"]:
        raise UsageProblem("conflicting options: cannot specify both --attach and --detach")
    try:
        return _run(lambda: engine(ctx), CreateOptions(**options), mine, detach_keys, sig_proxy)
    except BadValue:
        raise
    except WherryError as exc:
        exc.exit_code = status_of(exc)
        about_us = isinstance(exc, UsageProblem) or (isinstance(exc, EngineProblem) and exc.status != 0)
        if about_us and exc.exit_code >= BAD_OPTIONS:
            exc.add_note("\nRun 'wherry run --help' for more information")
        raise


def status_of(exc: WherryError) -> int:
    """125 for the engine's and our own failures, 127 and 126 if the command cannot be started."""
    if isinstance(exc, NoTerminal) or exc.exit_code != type(exc).exit_code:
        return exc.exit_code  # somebody knew better
    message = str(exc).lower()
    if isinstance(exc, EngineProblem) and exc.status:
        if any(text in message for text in NOT_FOUND):
            return 127
        if any(text in message for text in NOT_EXECUTABLE):
            return 126
    return BAD_OPTIONS


def _run(
    connect: Callable[[], "EngineClient"],
    options: "CreateOptions",
    mine: ClientOptions,
    detach_keys: str,
    sig_proxy: bool,
) -> int:
    from wherry.cli import detach_keys as keys
    from wherry.cli import preferences, references, terminal
    from wherry.engine.create import body

    detach_keys = detach_keys or preferences.text("detachKeys")
    parsed = keys.parse(detach_keys)
    stdin, stdout, stderr = options.streams
    references.check(options.image)
    # All that can be wrong with the command line comes before the engine is asked for anything.
    document = body(options, environ=os.environ, cwd=Path.cwd(), console_size=terminal.size())
    if stdin:
        from wherry.cli.lifecycle import check_terminal

        check_terminal(stdin, options.tty)
    client = connect()
    container = create_container(client, document, options, mine)
    if not (stdin or stdout or stderr):
        client.post(f"/containers/{container}/start")
        click.echo(container)
        return 0
    # Not before: a detached run needs no threads and no signals.
    from wherry.cli.lifecycle import start_attached
    from wherry.cli.session import Wiring

    return start_attached(
        client,
        container,
        Wiring(stdin=stdin, stdout=stdout, stderr=stderr, tty=options.tty, detach_keys=parsed),
        detach_keys=detach_keys,
        auto_remove=options.rm,
        sig_proxy=sig_proxy,
    )


def create_container(
    client: "EngineClient", document: dict[str, Any], options: "CreateOptions", mine: ClientOptions
) -> str:
    """The new container's id; pulls the image as --pull says."""
    from wherry.cli import preferences

    env: list[str] = document.get("Env") or []
    if more := preferences.proxies(str(client.endpoint), env):
        document = {**document, "Env": env + more}
    if "MacAddress" in document and client.api_version >= (1, 44):
        # It is the first network's since then, where it stands as well.
        document = {key: value for key, value in document.items() if key != "MacAddress"}

    cidfile = Path(mine.cidfile) if mine.cidfile else None
    if cidfile and cidfile.exists():
        raise UsageProblem(
            "container ID file found, make sure the other container isn't running or delete " + str(cidfile)
        )
    if mine.pull == "always":
        _pull(client, options, mine)
    params = {"name": mine.name or None, "platform": options.platform or None}
    try:
        answer = client.post("/containers/create", params, document)
    except EngineProblem as exc:
        if not _image_missing(exc, options.image) or mine.pull != "missing":
            raise
        _pull(client, options, mine)
        answer = client.post("/containers/create", params, document)
    if warnings := answer.get("Warnings"):
        from wherry.cli.lifecycle import warn

        warn(warnings)
    container: str = answer["Id"]
    if cidfile:
        try:
            cidfile.write_text(container, encoding="ascii")
        except OSError as exc:
            raise UsageProblem(f"cannot write the container ID file {cidfile}: {exc.strerror}") from exc
    return container


def _image_missing(exc: EngineProblem, image: str) -> bool:
    from wherry.cli import references

    said = str(exc).lower()
    missing = "no such image" in said or "does not provide the specified platform" in said
    return exc.status == 404 and missing and not references.is_id(image)


def _pull(client: "EngineClient", options: "CreateOptions", mine: ClientOptions) -> None:
    import sys

    from wherry.cli import references
    from wherry.cli.pull import fetch

    if not mine.quiet and mine.pull == "missing":
        click.echo(f"Unable to find image '{references.with_tag(options.image)}' locally", err=True)
    name, tag = references.split(options.image)
    fetch(client, name, tag, platform=options.platform, out=None if mine.quiet else sys.stderr)
