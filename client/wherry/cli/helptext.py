"""What `--help` and `help` print, in docker's form: usage, what it does, aliases, options, verbs, examples.

Not loaded by a plain call. The texts are those of the commands; an example or more comes from `examples`.
"""

import importlib
import shutil
import textwrap
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click

from wherry.cli import examples, manual
from wherry.cli.main import COMMANDS, LazyGroup

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The first verbs that the root's help names.
COMMON = (
    *("run", "exec", "ps", "build", "pull", "push", "images", "login", "logout", "search"),
    *("version", "info"),
)
#: Groups whose verbs are verbs of the root, too.
_GROUPS = ("builder", "container", "image", "system")
#: What click calls a kind of value, and what docker's users call it.
_KINDS = {"text": "string", "integer": "int", "float": "decimal", "path": "path", "filename": "file"}

#: The narrowest column of verbs.
_VERB_COLUMNS = 12

Rows = list[tuple[str, str]]


def text(command: click.Command, ctx: click.Context) -> str:
    """The whole help, without its last newline."""
    width = max(40, shutil.get_terminal_size().columns)
    sections = [usage(command, ctx), *_description(command, width)]
    if names := aliases(ctx.command_path):
        sections.append(_section("Aliases", [f"  {', '.join(names)}"]))
    options = _columns(_options(command, ctx), width)
    if isinstance(command, click.Group):
        for title, rows in _verbs(command, ctx):
            sections.append(_section(title, _columns(rows, 0, least=_VERB_COLUMNS)))
        title = "Global Options" if ctx.parent is None else "Options"
        sections += [_section(title, options)] if options else []
        sections.append(f"Run '{ctx.command_path} COMMAND --help' for more information on a command.")
        return "\n\n".join(sections)
    sections += [_section("Options", options)] if options else []
    if found := examples.of(ctx.command_path):
        sections.append(
            _section("Examples", [line for what, how in found for line in (f"  # {what}", f"  {how}")])
        )
    return "\n\n".join(sections)


def usage(command: click.Command, ctx: click.Context) -> str:
    """`Usage:  wherry ps [OPTIONS]`."""
    if isinstance(command, click.Group):
        return f"Usage:  {ctx.command_path} {'[OPTIONS] ' if ctx.parent is None else ''}COMMAND"
    return f"Usage:  {' '.join([ctx.command_path, *command.collect_usage_pieces(ctx)])}"


def aliases(path: str) -> list[str]:
    """Every way to the verb that path names, path's own group first; empty if there is only one."""
    program, *words = path.split() or [""]
    if not words:
        return []
    own = _group(words[0]) if len(words) > 1 else None
    target = COMMANDS.get(words[0]) if own is None else own.lazy.get(own.aliases.get(words[-1], words[-1]))
    groups = [words[0]] if own is not None else []
    if own is None or words[0] in _GROUPS:
        groups += [name for name in _GROUPS if name not in groups]
    ways: list[str] = []
    for name in groups:
        if (group := _group(name)) is not None:
            same = [verb for verb, where in group.lazy.items() if where == target]
            same += [alias for alias, verb in group.aliases.items() if verb in same]
            ways += [f"{program} {name} {verb}" for verb in same]
    ways += [f"{program} {verb}" for verb, where in COMMANDS.items() if where == target]
    return ways if len(ways) > 1 else []


def _group(name: str) -> LazyGroup | None:
    where = COMMANDS.get(name)
    if where is None:
        return None
    module, _, attribute = where.partition(":")
    found = getattr(importlib.import_module(module), attribute)
    return found if isinstance(found, LazyGroup) else None


def _section(title: str, lines: Iterable[str]) -> str:
    return "\n".join((f"{title}:", *lines))


def _description(command: click.Command, width: int) -> Iterator[str]:
    """The docstring's paragraphs; those behind click's mark keep their lines."""
    for paragraph in (command.help or "").split("\n\n"):
        rows = [row.strip() for row in paragraph.strip().splitlines()]
        if rows and rows[0] == "\b":
            yield "\n".join(f"  {row}" for row in rows[1:])
        elif rows:
            yield "\n".join(textwrap.wrap(_sentence(" ".join(rows)), width))


def _sentence(text: str) -> str:
    """One sentence needs no full stop here."""
    bare = text.removesuffix(".")
    return text if ". " in bare else bare


def _options(command: click.Command, ctx: click.Context) -> Rows:
    """`-a, --all` and what it does; the option for help is known to who reads this."""
    rows = []
    for param in command.params:
        if not isinstance(param, click.Option) or param.hidden:
            continue
        record = param.get_help_record(ctx)
        names = [name for name in param.opts if not name.startswith("--")]
        longs = [name for name in param.opts if name.startswith("--")]
        head = f"{names[0]}, " if names else "    "
        kind = "" if param.is_flag else f" {_kind(param, ctx)}"
        rows.append((head + ", ".join(longs[:1]) + kind, _sentence(record[1] if record else "")))
    return sorted(rows, key=lambda row: row[0][4:])


def _kind(option: click.Option, ctx: click.Context) -> str:
    """What stands for the value: its choices, `list` if it may be given more than once, or its type."""
    if option.metavar or isinstance(option.type, click.Choice):
        return option.make_metavar(ctx)
    if option.multiple:
        return "list"
    return _KINDS.get(option.type.name.removesuffix(" range"), option.type.name)


def _verbs(group: click.Group, ctx: click.Context) -> Iterator[tuple[str, Rows]]:
    found: Mapping[str, click.Command] = dict(manual.children(group, ctx))

    def rows(names: Iterable[str]) -> Rows:
        return [(name, _sentence(found[name].get_short_help_str(limit=1000))) for name in names]

    if ctx.parent is not None:
        yield "Commands", rows(found)
        return
    groups = [name for name, command in found.items() if isinstance(command, click.Group)]
    yield "Common Commands", rows(COMMON)
    yield "Management Commands", rows(groups)
    yield "Commands", rows(name for name in found if name not in {*COMMON, *groups})


def _columns(rows: Rows, width: int, least: int = 0) -> list[str]:
    """Two columns, the first at least `least` wide, the second wrapped to width; 0: not wrapped."""
    if not rows:
        return []
    left = max(least, *(len(first) + 3 for first, _ in rows))
    lines = []
    for first, second in rows:
        parts = textwrap.wrap(second, max(24, width - left - 2)) if width else [second]
        for number, part in enumerate(parts or [""]):
            lines.append(f"  {first if number == 0 else '':{left}}{part}".rstrip())
    return lines
