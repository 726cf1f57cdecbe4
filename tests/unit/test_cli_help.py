"""Help with examples, the manual, and what shells are offered."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from cli_fake_engine import Answer, FakeEngine, fake_engine

from wherry.cli import examples, manual
from wherry.cli.main import main, wherry


def verbs(group: click.Group, ctx: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    for name, command in manual.children(group, ctx):
        inner = click.Context(command, info_name=name, parent=ctx)
        if isinstance(command, click.Group):
            yield from verbs(command, inner)
        else:
            yield command, inner


VERBS = list(verbs(wherry, click.Context(wherry, info_name="wherry")))


def test_every_verb_shows_an_example_of_itself() -> None:
    missing = [ctx.command_path for _, ctx in VERBS if not examples.of(ctx.command_path)]
    assert missing == []
    for command, ctx in VERBS:
        shown = command.get_help(ctx)
        assert "Examples:\n  # " in shown, ctx.command_path
        assert command.help, ctx.command_path


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("container",), ("Usage:  wherry container COMMAND\n", "\nCommands:\n", "\n  ls          List con")),
        (("ps", "--help"), ("Usage:  wherry ps [OPTIONS]\n", "\n  -a, --all ", "wherry container ls, ")),
        (
            ("help", "image", "ls"),
            ("Usage:  wherry image ls [OPTIONS] ", "\nExamples:\n  # ", "wherry images"),
        ),
        (
            ("help",),
            ("Usage:  wherry [OPTIONS] COMMAND\n", "\nManagement Commands:\n", "\nGlobal Options:\n"),
        ),
    ],
)
def test_help_has_dockers_form(
    words: tuple[str, ...],
    shown: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["wherry", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    out, err = capsys.readouterr()
    assert (out == "") == (words == ("container",))  # help that nobody asked for goes to stderr
    for text in shown:
        assert text in out + err


@pytest.mark.parametrize(
    ("name", "line"), [(name, line) for name, found in examples.EXAMPLES.items() for _, line in found]
)
def test_every_example_is_a_command_that_parses(name: str, line: str) -> None:
    program, *words = shlex.split(line)
    assert program == "wherry"
    assert words[: len(name.split())] == name.split()
    command: click.Command = wherry
    ctx = click.Context(wherry, info_name="wherry")
    for word in name.split():
        assert isinstance(command, click.Group)
        found = command.get_command(ctx, word)
        assert found is not None, word
        command = found
    command.make_context(name, words[len(name.split()) :], parent=ctx)


def test_every_command_has_a_page_that_roff_understands(tmp_path: Path) -> None:
    count = manual.write(wherry, tmp_path)
    pages = sorted(path.name for path in tmp_path.iterdir())
    assert len(pages) == count > len(VERBS)
    assert {"wherry.1", "wherry-run.1", "wherry-container-run.1", "wherry-machine-start.1"} <= set(pages)
    text = (tmp_path / "wherry-ps.1").read_text()
    assert ".SH EXAMPLES" in text
    assert "\\-\\-no\\-trunc" in text
    assert all(not line.startswith((".", "'")) or line[1:3].isupper() or line[:3] in {".nf", ".fi", ".B "}
               for page in tmp_path.iterdir() for line in page.read_text().splitlines())  # fmt: skip
    if shutil.which("groff"):
        paths = [str(tmp_path / name) for name in pages]
        done = subprocess.run(
            ["groff", "-man", "-Tascii", "-ww", *paths],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, "")


# --- completion ----------------------------------------------------------------------------------


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    with fake_engine() as made:
        monkeypatch.setenv("WHERRY_HOST", made.url)
        listed = [
            {"Id": "a" * 64, "Names": ["/web", "/db/web"], "State": "running"},
            {"Id": "b" * 64, "Names": ["/was"], "State": "exited"},
            {"Id": "c" * 64, "Names": ["/still"], "State": "paused"},
        ]
        made.on("GET", "/containers/json", Answer(200, listed))
        made.on("GET", "/images/json", Answer(200, [{"RepoTags": ["web:1", "<none>:<none>"]}, {}]))
        made.on("GET", "/networks", Answer(200, [{"Name": "back"}, {"Name": "bridge"}]))
        made.on("GET", "/volumes", Answer(200, {"Volumes": [{"Name": "data"}]}))
        yield made


def offered(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    """What bash is told for the last word."""
    monkeypatch.setenv("_WHERRY_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", shlex.join(["wherry", *words]))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    monkeypatch.setattr(sys, "argv", ["wherry"])
    with pytest.raises(SystemExit):
        main()
    out, err = capsys.readouterr()
    assert err == ""
    return [line.partition(",")[2] for line in out.splitlines() if line]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("stop", ""), ["still", "web"]),
        (("start", ""), ["was"]),
        (("unpause", ""), ["still"]),
        (("rm", "w"), ["was", "web"]),
        (("rm", "web", "w"), ["was"]),
        (("container", "rm", "s"), ["still"]),
        (("exec", "-it", "w"), ["web"]),
        (("run", "--network", "b"), ["back", "bridge"]),
        (("run", "w"), ["web:1"]),
        (("image", "rm", ""), ["web:1"]),
        (("images", ""), ["web"]),
        (("network", "rm", "ba"), ["back"]),
        (("network", "connect", "back", "we"), ["web"]),
        (("volume", "rm", ""), ["data"]),
        (("inspect", "d"), ["data"]),
        (("cp", "we"), ["web:"]),
        (("run", "--pull", "n"), ["never"]),
        (("ps", "--no"), ["--no-trunc"]),
        (("run", "--rm"), ["--rm"]),
        (("comm",), ["commit"]),
        (("system", ""), ["audit", "df", "events", "info", "prune"]),
    ],
)
def test_shells_are_offered_names(
    engine: FakeEngine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    names: list[str],
) -> None:
    assert offered(monkeypatch, capsys, *words) == names


def test_machines_are_offered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("WHERRY_HOME", str(tmp_path))
    for name in ("default", "test"):
        (tmp_path / "machines" / name).mkdir(parents=True)
        (tmp_path / "machines" / name / "machine.json").write_text("{}")
    assert offered(monkeypatch, capsys, "machine", "start", "--name", "t") == ["test"]


def test_without_an_engine_nothing_is_offered_and_nothing_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WHERRY_HOST", "unix:///nonexistent/d.sock")
    assert offered(monkeypatch, capsys, "stop", "") == []


def test_powershell_is_told_kind_value_and_help(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_WHERRY_COMPLETE", "powershell_complete")
    monkeypatch.setattr(sys, "argv", ["wherry"])
    for line, word, told in (
        ("wherry stop w", "w", "plain\tweb\t"),
        ("wherry stop ", "", "plain\tstill\t"),
        ("wherry ps --no-t", "--no-t", "plain\t--no-trunc\tDon't truncate output."),
    ):
        monkeypatch.setenv("_WHERRY_LINE", line)
        monkeypatch.setenv("_WHERRY_WORD", word)
        with pytest.raises(SystemExit):
            main()
        assert told in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_scripts_are_for_their_shell(
    shell: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["wherry", "completion", shell])
    with pytest.raises(SystemExit):
        main()
    script = capfd.readouterr().out
    assert f"{shell}_complete" in script
    assert "%(" not in script


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_a_line(engine: FakeEngine, tmp_path: Path) -> None:
    program = tmp_path / "wherry"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m wherry "$@"\n')
    program.chmod(0o755)
    script = (
        "source <(wherry completion bash); COMP_WORDS=(wherry stop we); COMP_CWORD=2;"
        ' _wherry_completion wherry we stop; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        env={**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.split() == ["web"], done.stderr
