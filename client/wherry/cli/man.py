"""`wherry man`: the manual, made from the commands; shown by man where there is one."""

from pathlib import Path

import click

from wherry.cli.command import verb
from wherry.errors import UsageProblem


@verb("man")
@click.option(
    "--write",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write all pages into a folder.",
)
@click.argument("words", nargs=-1, metavar="[COMMAND...]")
@click.pass_context
def man(ctx: click.Context, folder: Path | None, words: tuple[str, ...]) -> int:
    """Show the manual page of a command, or write all of them."""
    from wherry.cli import manual

    root = ctx.find_root().command
    if folder is not None:
        if words:
            raise UsageProblem("--write writes every page; leave the command out")
        try:
            count = manual.write(root, folder)
        except OSError as exc:
            raise UsageProblem(f"cannot write into {folder}: {exc.strerror}; choose another folder") from exc
        click.echo(f"{count} pages are in {folder}; add its parent to MANPATH, or copy them to man/man1")
        return 0
    command, context = root, click.Context(root, info_name="wherry")
    for word in words:
        inner = command.get_command(context, word) if isinstance(command, click.Group) else None
        if inner is None:
            raise UsageProblem(f"there is no command '{context.command_path} {word}'; see `wherry --help`")
        command, context = inner, click.Context(inner, info_name=word, parent=context)
    return _show(manual.page(command, context), command.get_help(context))


def _show(roff: str, plain: str) -> int:
    """By man, if it is installed; else, as on Windows, the help text through a pager."""
    import shutil
    import subprocess
    import tempfile

    program = shutil.which("man")
    if program is None:
        click.echo_via_pager(plain + "\n")
        return 0
    with tempfile.NamedTemporaryFile("w", suffix=".1", encoding="utf-8") as file:
        file.write(roff)
        file.flush()
        # A path with a slash is a file for every man; `-l` is not known everywhere.
        return subprocess.run([program, file.name], check=False).returncode
