"""Man pages from the commands themselves. Source: man-pages(7), groff_man(7)."""

from collections.abc import Iterator
from pathlib import Path

import click

from wherry.cli import examples
from wherrywire.version import __version__

SECTION = "1"


def page_name(path: str) -> str:
    """`wherry network ls` -> wherry-network-ls."""
    return path.replace(" ", "-")


def page(command: click.Command, ctx: click.Context) -> str:
    """One page, as roff."""
    path = ctx.command_path
    title, *paragraphs = (command.help or "").split("\n\n")
    summary = " ".join(title.split()).rstrip(".")
    usage = " ".join(command.collect_usage_pieces(ctx)) or "COMMAND"
    lines = [
        f'.TH "{page_name(path).upper()}" "{SECTION}" "" "Wherry {__version__}" "Wherry"',
        ".SH NAME",
        f"{_text(page_name(path))} \\- {_text(summary[:1].lower() + summary[1:])}",
        ".SH SYNOPSIS",
        f".B {_text(path)}",
        _text(usage),
    ]
    if paragraphs:
        lines.append(".SH DESCRIPTION")
        lines += [line for paragraph in paragraphs for line in _paragraph(paragraph)]
    lines += _options(command, ctx)
    lines += _commands(command, ctx)
    lines += _examples(path)
    lines += _see_also(command, ctx)
    return "\n".join(lines) + "\n"


def _paragraph(text: str) -> Iterator[str]:
    rows = [row.strip() for row in text.splitlines()]
    if rows[0] == "\b":  # click's mark: lines stay as they are
        yield ".PP"
        yield ".nf"
        yield from map(_text, rows[1:])
        yield ".fi"
    else:
        yield ".PP"
        yield _text(" ".join(rows))


def _options(command: click.Command, ctx: click.Context) -> Iterator[str]:
    records = [record for param in command.get_params(ctx) if (record := param.get_help_record(ctx))]
    if records:
        yield ".SH OPTIONS"
    for names, text in records:
        yield ".TP"
        yield f"\\fB{_text(names)}\\fR"
        yield _text(text) or "\\&"


def _commands(command: click.Command, ctx: click.Context) -> Iterator[str]:
    if not isinstance(command, click.Group):
        return
    yield ".SH COMMANDS"
    for name, inner in children(command, ctx):
        yield ".TP"
        yield f"\\fB{_text(page_name(f'{ctx.command_path} {name}'))}\\fR({SECTION})"
        yield _text(inner.get_short_help_str(limit=200))


def children(group: click.Group, ctx: click.Context) -> Iterator[tuple[str, click.Command]]:
    """The verbs that help shows."""
    for name in group.list_commands(ctx):
        inner = group.get_command(ctx, name)
        if inner is not None and not inner.hidden:
            yield name, inner


def _examples(path: str) -> Iterator[str]:
    found = examples.of(path)
    if found:
        yield ".SH EXAMPLES"
    for text, command in found:
        yield ".TP"
        yield _text(text[:1].upper() + text[1:])
        yield f"\\fB{_text(command)}\\fR"


def _see_also(command: click.Command, ctx: click.Context) -> Iterator[str]:
    if ctx.parent is None:
        return
    yield ".SH SEE ALSO"
    same = [ctx.parent.command_path]
    own = ctx.command_path.split()[-1]
    if len(ctx.command_path.split()) == 3 and ctx.find_root().command.get_command(ctx, own) is command:  # type: ignore[attr-defined]  # the root is a group
        same.append(f"wherry {own}")
    yield ", ".join(f".BR {_text(page_name(path))} ({SECTION})" for path in same).replace(", ", ",\n")


def _text(text: str) -> str:
    """Escaped for roff. A line must not begin with what roff takes for a request."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    return f"\\&{escaped}" if escaped[:1] in {".", "'"} else escaped


def all_pages(root: click.Command) -> Iterator[tuple[str, str]]:
    """(name of the file, its text) of every command."""
    yield from _pages(root, click.Context(root, info_name="wherry"))


def _pages(command: click.Command, ctx: click.Context) -> Iterator[tuple[str, str]]:
    yield f"{page_name(ctx.command_path)}.{SECTION}", page(command, ctx)
    if isinstance(command, click.Group):
        for name, inner in children(command, ctx):
            yield from _pages(inner, click.Context(inner, info_name=name, parent=ctx))


def write(root: click.Command, folder: Path) -> int:
    """Writes every page into folder; gives their number. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = list(all_pages(root))
    for name, text in pages:
        (folder / name).write_text(text, encoding="utf-8")
    return len(pages)
