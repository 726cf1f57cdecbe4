"""`alias docker=wherry` must not surprise: docker's verbs and flags are all there, or refused by name.

docker_flags.json is what docker's own client (28.2) says of itself; scripts/docker_flags.py makes it.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from wherry.cli.main import ABSENT, COMMANDS, LazyGroup, main, wherry

#: "verb" or "group verb" -> flag -> [short form or "", kind of value or "" for a switch].
DOCKER: dict[str, dict[str, list[str]]] = json.loads(
    (Path(__file__).parent / "docker_flags.json").read_text()
)
THE_33 = {
    *("attach", "build", "commit", "cp", "diff", "events", "export", "history", "images", "import", "info"),
    *("insert", "inspect", "kill", "load", "login", "logs", "port", "ps", "pull", "push", "restart", "rm"),
    *("rmi", "run", "save", "search", "start", "stop", "tag", "top", "version", "wait"),
}


def command(words: str) -> click.Command | None:
    """The command behind "group verb"; None if it is not there."""
    found: click.Command | None = wherry
    for word in words.split():
        found = found.get_command(click.Context(found), word) if isinstance(found, click.Group) else None
    return found


def options(of: click.Command) -> dict[str, click.Option]:
    return {name: param for param in of.params if isinstance(param, click.Option) for name in param.opts}


def docker_verbs() -> Iterator[str]:
    return (words for words in DOCKER if words.split()[:1] and words.partition(" ")[0] not in ABSENT)


def ended(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["wherry", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_the_verbs_of_the_article_are_there() -> None:
    assert len(THE_33) == 33
    assert set(COMMANDS) >= THE_33


def test_every_verb_of_docker_is_there_or_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = [words for words in docker_verbs() if command(words) is None and words not in ABSENT]
    assert missing == []
    for words, reason in ABSENT.items():
        assert ended(monkeypatch, *words.split()) == 1
        assert reason in capsys.readouterr().err


@pytest.mark.parametrize("words", sorted(set(docker_verbs()) - set(ABSENT)))
def test_a_verb_takes_dockers_flags(words: str) -> None:
    ours = command(words)
    assert ours is not None
    taken = options(ours)
    wrong = []
    for flag, (short, kind) in DOCKER[words].items():
        if flag == "--help":
            continue  # click's own
        option = taken.get(flag)
        if option is None:
            wrong.append(f"{flag} is missing")
        elif short and short not in option.opts:
            wrong.append(f"{flag} has no {short}")
        elif option.is_flag is bool(kind):
            wrong.append(f"{flag}: {'a value' if kind else 'no value'} in docker")
    assert wrong == []


def test_the_root_takes_dockers_flags() -> None:
    taken = options(wherry)
    for flag, (short, kind) in DOCKER[""].items():
        assert flag in taken
        assert not short or short in taken[flag].opts
        assert taken[flag].is_flag is not bool(kind)


REFUSED = [
    ("run", "--isolation", "hyperv"), ("run", "--isolation=process"), ("run", "--cpu-count", "2"),
    ("run", "--cpu-percent", "5"), ("run", "--io-maxbandwidth", "1m"), ("run", "--io-maxiops", "5"),
    ("run", "--kernel-memory", "1g"), ("create", "--use-api-socket"),
    ("run", "--disable-content-trust=false"), ("pull", "--disable-content-trust=false"),
    ("push", "--disable-content-trust=false"),
    ("start", "--checkpoint", "x"), ("start", "--checkpoint-dir", "x"),
    ("volume", "create", "--availability", "drain"), ("volume", "create", "--sharing", "all"),
    ("volume", "ls", "--cluster"),
    ("build", "--security-opt", "seccomp=unconfined"), ("build", "--isolation", "hyperv"),
    ("build", "--disable-content-trust=false"),
]  # fmt: skip


@pytest.mark.parametrize("given", REFUSED)
def test_what_cannot_be_had_is_refused_by_name(
    given: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    argument = () if given[-1] == "--cluster" else ("x",)
    assert ended(monkeypatch, *given, *argument) == 125
    name = next(word for word in given if word.startswith("--")).partition("=")[0]
    assert name in capsys.readouterr().err


def test_every_hidden_option_is_one_that_is_refused_or_kept_for_old_scripts() -> None:
    refused = {word.partition("=")[0] for given in REFUSED for word in given if word.startswith("--")}
    cluster = {flag for flag in DOCKER["volume create"] if flag not in {"--driver", "--label", "--opt"}}
    old = {"--name"}
    for words in (*docker_verbs(), ""):
        found = command(words)
        if found is None or isinstance(found, LazyGroup):
            continue
        hidden = {name for name, option in options(found).items() if option.hidden and name.startswith("--")}
        assert hidden <= refused | cluster | old, words


def test_no_content_trust_is_what_is_the_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHERRY_HOST", "unix:///nonexistent/d.sock")
    assert ended(monkeypatch, "pull", "--disable-content-trust", "x") == 1  # nobody there: it was accepted


def test_version_and_debug(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(monkeypatch, "-v") == 0
    assert capsys.readouterr().out.startswith("Wherry version ")
    monkeypatch.setenv("WHERRY_DEBUG", "")
    monkeypatch.setenv("WHERRY_HOST", "unix:///nonexistent/d.sock")
    assert ended(monkeypatch, "-D", "ps") == 1
    assert "Traceback" in capsys.readouterr().err


def test_hints_for_verbs_that_are_nearly_right(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(monkeypatch, "imges") == 1
    assert "did you mean 'wherry images'?" in capsys.readouterr().err
    assert ended(monkeypatch, "container", "lss") == 1
    assert "wherry container ls" in capsys.readouterr().err
