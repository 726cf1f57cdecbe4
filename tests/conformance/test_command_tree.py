"""Every command of docker's client that Wherry has: arguments and other names, by both clients' own help."""

import json
import re
import subprocess
from pathlib import Path

import click
import pytest

from wherry.cli import helptext
from wherry.cli.main import ABSENT, wherry

pytestmark = pytest.mark.usefixtures("docker_cli")

DOCKER = json.loads((Path(__file__).parent.parent / "unit" / "docker_flags.json").read_text())
#: docker 28.2 leaves options of these out of the usage, or shows some that its help does not list.
USAGE_DIFFERS = {"builder prune", "context export", "context inspect", "context rm", "network rm"}


def test_arguments_and_aliases_are_dockers() -> None:
    compared, wrong = 0, []
    for words in sorted(DOCKER):
        if not words or words in ABSENT or words.split()[0] in ABSENT:
            continue
        command, ctx = found(words)
        shown = subprocess.run(
            ["docker", *words.split(), "--help"], capture_output=True, text=True, check=True, timeout=60
        ).stdout.replace("docker ", "wherry ")
        usage = re.search(r"^Usage:  .*", shown, re.MULTILINE)
        aliases = re.search(r"^Aliases:\n  (.*)", shown, re.MULTILINE)
        assert usage is not None, words
        if words not in USAGE_DIFFERS and usage[0] != helptext.usage(command, ctx).partition("\n")[0]:
            wrong.append((usage[0], helptext.usage(command, ctx)))
        theirs = sorted(aliases[1].split(", ")) if aliases else []
        if theirs != sorted(helptext.aliases(ctx.command_path)):
            wrong.append((words, theirs))
        compared += 1
    assert wrong == []
    assert compared > 90


def found(words: str) -> tuple[click.Command, click.Context]:
    command: click.Command = wherry
    ctx = click.Context(wherry, info_name="wherry")
    for word in words.split():
        assert isinstance(command, click.Group)
        inner = command.get_command(ctx, word)
        assert inner is not None, words
        command, ctx = inner, click.Context(inner, info_name=word, parent=ctx)
    return command, ctx
