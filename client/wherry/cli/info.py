"""`wherry info`."""

import json
import os
from collections.abc import Iterator
from typing import Any

import click

from wherry.cli.command import current_context, engine, print_text, verb
from wherry.errors import WherryError
from wherrywire import __version__


@verb("info")
@click.option("-f", "--format", "form", help="json or a Go template.")
@click.pass_context
def info(ctx: click.Context, form: str | None) -> int:
    """Display system-wide information."""
    template = None
    if form and form != "json":
        from wherry.cli.inspect import parse_template

        template = parse_template(form)
    problem: WherryError | None = None
    found: dict[str, Any] = {}
    try:
        found = engine(ctx).get("/info")
    except WherryError as exc:
        problem = exc
    client = {"Version": __version__, "Context": current_context(ctx), "Debug": "WHERRY_DEBUG" in os.environ}
    if template is not None:
        from wherry.cli.inspect import render

        print_text(render(template, {**found, "ClientInfo": client}))
    elif form == "json":
        click.echo(json.dumps({**found, "ClientInfo": client}, separators=(",", ":"), ensure_ascii=False))
    else:
        debug = str(client["Debug"]).lower()
        click.echo(f"Client: Wherry\n Version:    {__version__}\n Context:    {client['Context']}")
        click.echo(f" Debug Mode: {debug}\n\nServer:")
        for line in lines(found) if found else ():
            click.echo(f" {line}".rstrip())
        click.echo()
        for warning in found.get("Warnings") or []:
            click.echo(warning, err=True)
    if problem is not None:
        click.echo(f"errors pretty printing info: {problem}" if not form else str(problem), err=True)
        return 1
    return 0


#: Title -> field, printed if the field says something.
_PLAIN_HEAD = (("Images", "Images"), ("Server Version", "ServerVersion"), ("Storage Driver", "Driver"))
_PLAIN_MIDDLE = (
    ("Logging Driver", "LoggingDriver"),
    ("Cgroup Driver", "CgroupDriver"),
    ("Cgroup Version", "CgroupVersion"),
)
_PLAIN_TAIL = (
    ("Kernel Version", "KernelVersion"),
    ("Operating System", "OperatingSystem"),
    ("OSType", "OSType"),
    ("Architecture", "Architecture"),
    ("CPUs", "NCPU"),
)
_PLAIN_END = (
    ("Name", "Name"),
    ("ID", "ID"),
    ("Docker Root Dir", "DockerRootDir"),
    ("HTTP Proxy", "HttpProxy"),
    ("HTTPS Proxy", "HttpsProxy"),
    ("No Proxy", "NoProxy"),
)


#: What an engine that is being debugged says of itself.
_DEBUG = (
    ("File Descriptors", "NFd"),
    ("Goroutines", "NGoroutines"),
    ("System Time", "SystemTime"),
    ("EventsListeners", "NEventsListener"),
)


def lines(found: dict[str, Any]) -> Iterator[str]:
    """The server's part, in Docker's order and words."""
    from wherry.cli.output.units import binary_size

    yield f"Containers: {found.get('Containers', 0)}"
    for word in ("Running", "Paused", "Stopped"):
        yield f" {word}: {found.get(f'Containers{word}', 0)}"
    yield from _plain(found, _PLAIN_HEAD)
    yield from (f" {key}: {value}" for key, value in found.get("DriverStatus") or [])
    yield from _plain(found, _PLAIN_MIDDLE)
    plugins = found.get("Plugins") or {}
    if plugins:
        yield "Plugins:"
        for kind in ("Volume", "Network", "Authorization", "Log"):
            if plugins.get(kind):
                yield f" {kind}: {' '.join(plugins[kind])}"
    swarm = (found.get("Swarm") or {}).get("LocalNodeState")
    if swarm:
        yield f"Swarm: {swarm}"
    if found.get("Runtimes"):
        yield f"Runtimes: {' '.join(sorted(found['Runtimes']))}"
        yield f"Default Runtime: {found.get('DefaultRuntime')}"
    yield from _plain(found, (("Init Binary", "InitBinary"),))
    yield from _security(found.get("SecurityOptions") or [])
    yield from _plain(found, _PLAIN_TAIL)
    yield f"Total Memory: {binary_size(found.get('MemTotal') or 0)}"
    yield from _plain(found, _PLAIN_END)
    yield f"Debug Mode: {str(bool(found.get('Debug'))).lower()}"
    if found.get("Debug"):
        yield from (f" {title}: {found.get(key)}" for title, key in _DEBUG)
    if found.get("Labels"):
        yield "Labels:"
        yield from (f" {label}" for label in found["Labels"])
    yield f"Experimental: {str(bool(found.get('ExperimentalBuild'))).lower()}"
    yield from _registries(found.get("RegistryConfig") or {})
    yield f"Live Restore Enabled: {str(bool(found.get('LiveRestoreEnabled'))).lower()}"


def _registries(config: dict[str, Any]) -> Iterator[str]:
    named = [
        index.get("Name") or name
        for name, index in (config.get("IndexConfigs") or {}).items()
        if not index.get("Secure")
    ]
    insecure = [*named, *(config.get("InsecureRegistryCIDRs") or ())]
    for title, entries in (
        ("Insecure Registries", insecure),
        ("Registry Mirrors", config.get("Mirrors") or ()),
    ):
        if entries:
            yield f"{title}:"
            yield from (f" {entry}" for entry in entries)


def _plain(found: dict[str, Any], fields: tuple[tuple[str, str], ...]) -> Iterator[str]:
    for title, key in fields:
        if found.get(key) not in (None, ""):
            yield f"{title}: {found[key]}"


def _security(options: list[str]) -> Iterator[str]:
    """`name=seccomp,profile=builtin` -> a heading and indented details."""
    if options:
        yield "Security Options:"
    for option in options:
        fields = dict(part.partition("=")[::2] for part in option.split(","))
        yield f" {fields.pop('name', option)}"
        for key, value in fields.items():
            yield f"  {key.title()}: {value}"
