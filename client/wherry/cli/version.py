"""`wherry version`: client and server. Without a server it still shows the client, and fails."""

import json
import platform
import sys
from typing import Any

import click

from wherry.cli.command import current_context, engine, print_text, verb
from wherry.errors import WherryError
from wherrywire import __version__

#: uname's names -> those Docker uses for architectures.
ARCHITECTURES = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64"}
SYSTEMS = {"win32": "windows"}
#: Width of the first column, in characters.
COLUMN = 20


@verb("version")
@click.option("-f", "--format", "form", help="json or a Go template.")
@click.pass_context
def version(ctx: click.Context, form: str | None) -> int:
    """Show the version information of client and engine."""
    template = None
    if form and form != "json":
        from wherry.cli.inspect import parse_template

        template = parse_template(form)
    problem: WherryError | None = None
    server: dict[str, Any] | None = None
    agreed = None
    try:
        client = engine(ctx)
        server, agreed = client.get("/version"), client.api_version
    except WherryError as exc:
        problem = exc
    mine = _client(agreed)
    facts = {"Client": mine, "Server": server}
    if template is not None:
        from wherry.cli.inspect import render

        # Docker's templates spell the field either way, depending on the version.
        spelled = {
            key: value and {**value, "APIVersion": value["ApiVersion"]} for key, value in facts.items()
        }
        print_text(render(template, spelled))
    elif form == "json":
        click.echo(json.dumps(facts, separators=(",", ":"), ensure_ascii=False))
    else:
        print_text(_client_text(mine, current_context(ctx)) + ("\n" + _server_text(server) if server else ""))
    if problem is not None:
        click.echo(str(problem), err=True)
        return 1
    return 0


def _client(agreed: tuple[int, int] | None) -> dict[str, Any]:
    from wherry.engine.client import API_VERSION

    newest = "{}.{}".format(*API_VERSION)
    return {
        "Platform": {"Name": "Wherry"},
        "Version": __version__,
        "ApiVersion": newest if agreed is None else "{}.{}".format(*agreed),
        "DefaultAPIVersion": newest,
        "PythonVersion": platform.python_version(),
        "Os": SYSTEMS.get(sys.platform, sys.platform),
        "Arch": ARCHITECTURES.get(platform.machine(), platform.machine()),
    }


def _client_text(client: dict[str, Any], context: str) -> str:
    from wherry.cli.output.table import align

    api, newest = client["ApiVersion"], client["DefaultAPIVersion"]
    shown = api if api == newest else f"{api} (downgraded from {newest})"
    return align(
        f"Client: {client['Platform']['Name']}\n Version:\t{client['Version']}\n API version:\t{shown}\n"
        f" Python version:\t{client['PythonVersion']}\n OS/Arch:\t{client['Os']}/{client['Arch']}\n"
        f" Context:\t{context}\n",
        min_width=COLUMN,
        padding=1,
    )


#: Details of the engine's own component, in the order Docker shows them.
_ENGINE_DETAILS = (
    ("Go version", "GoVersion"),
    ("Python version", "PythonVersion"),
    ("Git commit", "GitCommit"),
    ("Built", "BuildTime"),
)


def _server_text(server: dict[str, Any]) -> str:
    from wherry.cli.output.table import align

    name = (server.get("Platform") or {}).get("Name") or ""
    lines = [f"Server: {name}".rstrip()] if name else ["Server:"]
    for component in server.get("Components") or [_own_component(server)]:
        lines.append(f" {component['Name']}:")
        lines.append(f"  Version:\t{component['Version']}")
        details = component.get("Details") or {}
        lines += _engine_lines(details) if component["Name"] == "Engine" else _other_lines(details)
    return align("\n".join(lines) + "\n", min_width=COLUMN, padding=1)


def _own_component(server: dict[str, Any]) -> dict[str, Any]:
    """For an engine that lists no components."""
    return {"Name": "Engine", "Version": server.get("Version", ""), "Details": server}


def _engine_lines(details: dict[str, Any]) -> list[str]:
    from wherry.cli.output.units import ctime

    lines = [f"  API version:\t{details.get('ApiVersion')} (minimum version {details.get('MinAPIVersion')})"]
    for title, key in _ENGINE_DETAILS:
        if details.get(key):
            value = details[key]
            lines.append(f"  {title}:\t{ctime(value) if key == 'BuildTime' else value}")
    lines.append(f"  OS/Arch:\t{details.get('Os')}/{details.get('Arch')}")
    if "Experimental" in details:
        lines.append(f"  Experimental:\t{str(details['Experimental']).lower()}")
    return lines


def _other_lines(details: dict[str, Any]) -> list[str]:
    return [f"  {key}:\t{details[key]}" for key in sorted(details)]
