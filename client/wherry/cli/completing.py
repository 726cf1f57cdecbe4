"""What the shell offers for an argument: names of containers, images, networks, volumes and machines.

Cheap to import, since every verb does; the engine is asked only when a shell wants to know. An engine that
cannot be reached offers nothing: a completion must never print an error into the user's line.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from wherry.engine.client import EngineClient

#: What click asks a parameter for: its context, itself, and what has been typed of the word.
Complete = Callable[[click.Context, click.Parameter, str], "list[CompletionItem]"]
_Ask = Callable[["EngineClient"], Iterable[str]]


def _from_engine(ask: _Ask) -> Complete:
    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
        from wherry.cli.command import engine
        from wherry.errors import WherryError

        try:
            with engine(ctx) as client:
                found = list(ask(client))
        except (WherryError, OSError):
            return []
        return _items(found, incomplete, without=ctx.params.get(param.name or ""))

    return complete


def _items(names: Iterable[str], incomplete: str, without: Any = None) -> "list[CompletionItem]":
    """without: what stands in the line already."""
    from click.shell_completion import CompletionItem

    given = set(without) if isinstance(without, list | tuple) else set()
    wanted = {name for name in names if name.startswith(incomplete) and name not in given}
    return [CompletionItem(name) for name in sorted(wanted)]


def _containers(*states: str) -> _Ask:
    """Those in one of the states; without states, all."""

    def ask(client: "EngineClient") -> Iterable[str]:
        for item in client.get("/containers/json", {"all": True}):
            if not states or item.get("State") in states:
                yield next(
                    (name.removeprefix("/") for name in item.get("Names") or [] if name.count("/") == 1),
                    item["Id"][:12],
                )

    return ask


def _images(client: "EngineClient") -> Iterable[str]:
    for item in client.get("/images/json"):
        yield from (tag for tag in item.get("RepoTags") or [] if not tag.startswith("<none>"))


def _repositories(client: "EngineClient") -> Iterable[str]:
    return (tag.rpartition(":")[0] for tag in _images(client))


def _networks(client: "EngineClient") -> Iterable[str]:
    return (item["Name"] for item in client.get("/networks"))


def _volumes(client: "EngineClient") -> Iterable[str]:
    return (item["Name"] for item in client.get("/volumes").get("Volumes") or [])


def _everything(client: "EngineClient") -> Iterable[str]:
    for ask in (_containers(), _images, _networks, _volumes):
        yield from ask(client)


containers = _from_engine(_containers())
running = _from_engine(_containers("running", "paused"))
startable = _from_engine(_containers("created", "exited"))
pausable = _from_engine(_containers("running"))
paused = _from_engine(_containers("paused"))
images = _from_engine(_images)
repositories = _from_engine(_repositories)
networks = _from_engine(_networks)
volumes = _from_engine(_volumes)
objects = _from_engine(_everything)


def machines(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":  # noqa: ARG001
    """Folders of machines; nothing is started or asked."""
    from wherry.paths import paths

    folder = paths().machines
    names = (path.parent.name for path in folder.glob("*/machine.json")) if folder.is_dir() else ()
    return _items(names, incomplete)


def contexts(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":  # noqa: ARG001
    from wherry.engine.contexts import ContextStore
    from wherry.errors import WherryError

    try:
        names = ["default", *(context.name for context in ContextStore().all())]
    except (WherryError, OSError):
        return []
    return _items(names, incomplete)


def kinds(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":  # noqa: ARG001
    """What inspect's --type may say."""
    return _items(("container", "image", "network", "volume"), incomplete)


def copied(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """`container:` for cp; otherwise files."""
    from click.shell_completion import CompletionItem

    found = [] if ":" in incomplete else containers(ctx, param, incomplete)
    if not found:
        return [CompletionItem(incomplete, type="file")]
    return [CompletionItem(f"{item.value}:") for item in found]
