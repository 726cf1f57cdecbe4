"""Docker's grammar of options: where they end, how they combine, and what a wrong one costs."""

import sys
from typing import Any

import click
import pytest

from wherry.cli.command import flag, texts, verb


def parsed(*args: str) -> dict[str, Any]:
    """What a command like run makes of args."""
    seen: dict[str, Any] = {}

    @verb("run", options_first=True, context_settings={"help_option_names": ["--help"]})
    @flag("-i", "--interactive")
    @flag("-t", "--tty")
    @flag("-d", "--detach")
    @flag("--rm")
    @flag("--init", default=None)
    @flag("--sig-proxy", default=True)
    @texts("-p", "--publish")
    @click.option("-h", "--hostname")
    @click.option("--memory-swap")
    @click.argument("image")
    @click.argument("command", nargs=-1, type=click.UNPROCESSED)
    def run(**options: Any) -> None:
        seen.update(options)

    run.main(list(args), standalone_mode=False)
    return seen


def test_options_end_at_the_image() -> None:
    options = parsed("--rm", "img", "ls", "-l", "--rm=false", "-p", "x")
    assert options["rm"] is True
    assert options["command"] == ("ls", "-l", "--rm=false", "-p", "x")
    assert options["publish"] == ()


def test_short_options_combine() -> None:
    options = parsed("-dit", "-p80:80", "-p", "81:81", "-hname", "img")
    assert (options["detach"], options["interactive"], options["tty"]) == (True, True, True)
    assert options["publish"] == ("80:80", "81:81")
    assert options["hostname"] == "name"


def test_combined_flags_may_end_in_an_option_with_a_value() -> None:
    options = parsed("-itp", "80:80", "img", "-x")
    assert options["publish"] == ("80:80",)
    assert options["command"] == ("-x",)


def test_a_short_option_takes_its_value_with_or_without_a_sign() -> None:
    assert parsed("-p=80", "-tp=81:x=y", "-h", "-i", "img")["publish"] == ("80", "81:x=y")
    assert parsed("-h", "-i", "img")["hostname"] == "-i"


def test_short_options_need_no_search_for_what_they_resemble() -> None:
    sys.modules.pop("difflib", None)
    parsed("-dit", "-p80:80", "-h", "name", "img")
    assert "difflib" not in sys.modules


@pytest.mark.parametrize(("text", "value"), [("true", True), ("1", True), ("false", False), ("F", False)])
def test_flags_take_values(text: str, value: bool) -> None:
    options = parsed(f"--rm={text}", f"--sig-proxy={text}", f"--init={text}", f"-t={text}", "img")
    assert (options["rm"], options["sig_proxy"], options["init"], options["tty"]) == (value,) * 4


def test_flags_have_their_defaults() -> None:
    options = parsed("img")
    assert (options["rm"], options["sig_proxy"], options["init"]) == (False, True, None)


def test_flags_do_not_take_other_values() -> None:
    with pytest.raises(click.UsageError, match='invalid argument "maybe" for "--rm" flag'):
        parsed("--rm=maybe", "img")


def test_values_may_begin_with_a_dash() -> None:
    assert parsed("--memory-swap", "-1", "img")["memory_swap"] == "-1"
    assert parsed("--memory-swap", "--rm=false", "img")["memory_swap"] == "--rm=false"


def test_a_double_dash_ends_options() -> None:
    assert parsed("--rm", "--", "img", "--rm=false")["command"] == ("--rm=false",)


def test_unknown_options_exit_with_125_and_missing_arguments_with_1() -> None:
    with pytest.raises(click.UsageError) as caught:
        parsed("--colour", "img")
    assert caught.value.exit_code == 125
    with pytest.raises(click.UsageError) as caught:
        parsed("--memory-swap")
    assert caught.value.exit_code == 125
    with pytest.raises(click.UsageError) as caught:
        parsed("--rm")
    assert caught.value.exit_code == 1


def test_help_does_not_show_the_hidden_names() -> None:
    @verb("x")
    @flag("--rm", help="Remove it.")
    def command(rm: bool) -> None: ...

    text = command.get_help(click.Context(command))
    assert "--rm " in text
    assert "@false" not in text
