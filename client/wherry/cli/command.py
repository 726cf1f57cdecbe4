"""Docker's grammar of options on top of click, and what every verb does first.

Flag          a switch that also takes `--rm=false`
Verb          a command with Docker's exit statuses for a wrong command line (125 and 1)
engine()      the client for the engine that -H or the environment names
each()        one call per name, errors printed as they come
"""

import re
import sys
from collections.abc import Callable, Container, Iterable, Mapping
from typing import IO, TYPE_CHECKING, Any, cast

import click

from wherry.cli.main import BAD_OPTIONS
from wherry.errors import BadValue, EngineProblem

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from wherry.engine.client import EngineClient
    from wherry.engine.endpoint import Wanted

_FALSE = "@false"
#: What click says of a number that is none.
_NOT_A = re.compile(r"'(.*)' is not a valid (integer|float)(?: range)?\.$")


class _BadCommandLine(click.UsageError):
    """Shown as Docker shows it: what is wrong, then how the verb is used."""

    def show(self, file: IO[Any] | None = None) -> None:
        lines = [self.format_message()]
        if self.ctx is not None:
            path = self.ctx.command_path
            usage = " ".join([path, *self.ctx.command.collect_usage_pieces(self.ctx)])
            lines += [f"Usage:  {usage}", f"Run '{path} --help' for more information"]
        click.echo("\n\n".join(lines), file=file or sys.stderr)


class BadOptions(_BadCommandLine):
    """An option that does not exist or cannot be read."""

    exit_code = BAD_OPTIONS


class BadArguments(_BadCommandLine):
    """Too few or too many arguments, or a verb that does not exist."""

    exit_code = 1


class Flag(click.Option):
    """`--rm`, `--rm=true` and `--rm=false`. The last form becomes a hidden second name."""

    def __init__(self, names: Iterable[str], **attributes: Any) -> None:
        declared = list(names)
        long = next(name for name in declared if name.startswith("--"))
        declared[declared.index(long)] = f"{long}/{long}{_FALSE}"
        attributes.setdefault("default", False)
        super().__init__(declared, **attributes)

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Without the hidden name."""
        kept, self.secondary_opts = self.secondary_opts, []
        try:
            return super().get_help_record(ctx)
        finally:
            self.secondary_opts = kept


class Verb(click.Command):
    """A docker verb. Options stop at the first argument where allow_interspersed_args is off."""

    def get_help(self, ctx: click.Context) -> str:
        from wherry.cli import helptext

        return helptext.text(self, ctx)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """Without the hidden names of switches."""
        found = super().shell_complete(ctx, incomplete)
        return [item for item in found if not str(item.value).endswith(_FALSE)]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, _without_values(args, self.params, ctx.allow_interspersed_args))
        except click.UsageError as exc:
            raise in_dockers_words(exc, self, exc.ctx or ctx) from exc
        except BadValue as exc:
            raise _bad_value(exc, self, ctx) from exc

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BadValue as exc:  # of an option that is read later
            raise _bad_value(exc, self, ctx) from exc

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """`[OPTIONS]` if there are any, and `CONTAINER [CONTAINER...]`, as docker writes them."""
        shown = [param for param in self.params if isinstance(param, click.Option) and not param.hidden]
        pieces = super().collect_usage_pieces(ctx)[1:]
        return (["[OPTIONS]"] if shown else []) + [_more_than_one(piece) for piece in pieces]


def _more_than_one(piece: str) -> str:
    name = piece.removesuffix("...")
    return piece if name == piece or piece.startswith("[") or " " in piece else f"{name} [{piece}]"


def _bad_value(exc: BadValue, command: click.Command, ctx: click.Context) -> "BadOptions":
    """With the option's short name, too."""
    names = next((each.opts for each in command.params if exc.option in each.opts), [exc.option])
    return BadOptions(f'invalid argument "{exc.value}" for "{_flag_name(names)}" flag: {exc.reason}', ctx=ctx)


def _flag_name(names: Iterable[str]) -> str:
    """`-n, --last`."""
    known = list(names)
    long = next((name for name in known if name.startswith("--")), known[0])
    short = next((name for name in known if not name.startswith("--")), "")
    return f"{short}, {long}" if short and short != long else long


def in_dockers_words(exc: click.UsageError, command: click.Command, ctx: click.Context) -> click.UsageError:
    """click's complaint about a command line as docker says it, with docker's exit status."""
    if isinstance(exc, click.NoSuchOption):
        name = exc.option_name
        text = f"unknown flag: {name}"
        if not name.startswith("--"):
            text = f"unknown shorthand flag: {_in_its_word(name)}"
        likely = f" (did you mean {', '.join(sorted(exc.possibilities))}?)" if exc.possibilities else ""
        return BadOptions(text + likely, ctx=ctx)
    param = getattr(exc, "param", None)
    if isinstance(param, click.Option) and (found := _NOT_A.match(exc.message)):
        kind = "Int" if found[2] == "integer" else "Float"
        reason = f'strconv.Parse{kind}: parsing "{found[1]}": invalid syntax'
        return _bad_value(BadValue(param.opts[0], found[1], reason), command, ctx)
    if isinstance(exc, click.BadOptionUsage) and "requires an argument" in exc.message:
        name = exc.option_name
        shown = name if name.startswith("--") else f"'{name[1:]}' in {name}"
        return BadOptions(f"flag needs an argument: {shown}", ctx=ctx)
    if isinstance(exc, click.BadOptionUsage) or isinstance(param, click.Option):
        return BadOptions(exc.format_message(), ctx=ctx)
    if isinstance(exc, click.MissingParameter) or param is None:
        return BadArguments(_wanted(command, ctx.command_path), ctx=ctx)
    return BadArguments(exc.format_message(), ctx=ctx)


def _wanted(command: click.Command, path: str) -> str:
    """How many arguments the command takes."""
    arguments = [param for param in command.params if isinstance(param, click.Argument)]
    least = sum(param.required for param in arguments)
    if not arguments:
        return f"wherry: '{path}' accepts no arguments"
    most = len(arguments)
    if any(param.nargs == -1 for param in arguments):
        return f"wherry: '{path}' requires at least {_arguments(least)}"
    if least == most:
        return f"wherry: '{path}' requires {_arguments(least)}"
    least_text = f"at least {least} and " if least else ""
    return f"wherry: '{path}' requires {least_text}at most {_arguments(most)}"


def _arguments(count: int) -> str:
    return f"{count} argument" if count == 1 else f"{count} arguments"


def _in_its_word(name: str) -> str:
    """`-z` -> `'z' in -az`, the word of the command line that the letter stands in."""
    letter = name[1:]
    words = (word for word in sys.argv[1:] if word.startswith("-") and not word.startswith("--"))
    return f"'{letter}' in {next((word for word in words if letter in word), name)}"


def _without_values(args: list[str], params: Iterable[click.Parameter], interspersed: bool) -> list[str]:
    """args with `--flag=false` turned into the flag's hidden name, up to where options end; and with short
    names in full: click looks for what a short one resembles before it looks it up, with difflib."""
    flags: dict[str, Flag] = {}
    valued: set[str] = set()
    longs: dict[str, str] = {}
    for param in params:
        if isinstance(param, click.Option) and (long := _long_name(param)):
            longs |= dict.fromkeys(param.opts, long)
        if isinstance(param, Flag):
            flags |= dict.fromkeys(param.opts, param)
        elif isinstance(param, click.Option) and not param.is_flag:
            valued |= set(param.opts)
    made: list[str] = []
    rest = list(args)
    while rest:
        arg = rest.pop(0)
        name, equals, value = arg.partition("=")
        if arg == "--" or (not interspersed and not _is_option(arg)):
            return [*made, arg, *rest]
        if equals and name in flags:
            made.append(_switch(name, value, flags[name]))
            continue
        takes_next = _takes_next(arg, flags, valued)
        if takes_next and not rest:
            made.append(arg)  # as it was written, for the error
            continue
        made += _in_full(arg, flags, valued, longs)
        if takes_next:
            made.append(rest.pop(0))
    return made


def _long_name(option: click.Option) -> str:
    """ "" for one that has none."""
    return next((name for name in option.opts if name.startswith("--")), "")


def _in_full(arg: str, flags: Container[str], valued: Container[str], longs: Mapping[str, str]) -> list[str]:
    """`-it` as `--interactive --tty`, `-p80:80` as `--publish=80:80`; as it is where a name is not known."""
    if arg.startswith("--") or not _is_option(arg):
        return [arg]
    made: list[str] = []
    for place, char in enumerate(arg[1:], 1):
        name = f"-{char}"
        if name not in longs or not (name in valued or name in flags):
            return [arg]
        made.append(longs[name])
        if name in valued:
            value = arg[place + 1 :].removeprefix("=")
            return [*made[:-1], f"{made[-1]}={value}"] if len(arg) > place + 1 else made
    return made


def _is_option(arg: str) -> bool:
    return arg.startswith("-") and arg != "-"


def _switch(name: str, value: str, flag: Flag) -> str:
    from wherry.engine.parse.values import boolean

    if boolean(value, name):
        return name
    return next(option for option in flag.secondary_opts if option.endswith(_FALSE))


def _takes_next(arg: str, flags: Iterable[str], valued: set[str]) -> bool:
    """Whether the next argument is this option's value."""
    if arg.startswith("--") or not _is_option(arg):
        return arg in valued
    for place, char in enumerate(arg[1:], 1):
        if f"-{char}" in valued:
            return place == len(arg) - 1
        if f"-{char}" not in flags:
            return False
    return False


def verb(name: str, *, options_first: bool = False, **settings: Any) -> Callable[..., Any]:
    """A click command of class Verb. options_first: nothing after the first argument is an option."""
    context = {"allow_interspersed_args": not options_first, **settings.pop("context_settings", {})}
    settings.setdefault("cls", Verb)
    return click.command(name, context_settings=context, **settings)


def flag(*names: str, **attributes: Any) -> Callable[..., Any]:
    """A switch (see Flag)."""
    return click.option(*names, cls=Flag, **attributes)


def texts(*names: str, **attributes: Any) -> Callable[..., Any]:
    """An option that may be given more than once."""
    return click.option(*names, multiple=True, **attributes)


def refused(
    *names: str, reason: str, switch: bool = False, unless: Container[str] = frozenset()
) -> Callable[..., Any]:
    """An option of docker's that cannot be had: naming it is an error that says why. Not shown in help.

    switch: it takes no value. unless: values that ask for what is the case anyway.
    """

    def refuse(ctx: click.Context, param: click.Parameter, value: Any) -> None:
        if value in (None, False) or value in unless:
            return
        raise click.BadParameter(f"not available: {reason}", ctx, param)

    kind: dict[str, Any] = {"cls": Flag} if switch else {}
    return click.option(*names, hidden=True, expose_value=False, default=None, callback=refuse, **kind)


def content_trust(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--disable-content-trust`, which is the case anyway; `=false` asks for what cannot be had."""

    def check(ctx: click.Context, param: click.Parameter, value: bool) -> None:
        if not value:
            raise click.BadParameter("signed images are not available; pull by digest instead", ctx, param)

    option = flag("--disable-content-trust", default=True, hidden=True, expose_value=False, callback=check)
    return cast(Callable[..., Any], option(function))


def engine(ctx: click.Context) -> "EngineClient":
    """The engine's client; closed when the command ends. Raises what `resolve` raises."""
    from wherry.engine import dockerconfig
    from wherry.engine.client import EngineClient
    from wherry.engine.endpoint import resolve

    config = dockerconfig.document()
    endpoint = resolve(wanted(ctx), current=dockerconfig.current_context(config))
    client: EngineClient = ctx.with_resource(EngineClient(endpoint, headers=dockerconfig.headers(config)))
    return client


def wanted(ctx: click.Context) -> "Wanted":
    """What the command line says about the engine; while a shell completes, too."""
    from wherry.engine.endpoint import Wanted

    given = ctx.find_root().params
    return Wanted(
        host=given.get("host"),
        context=given.get("context"),
        tls=given.get("tls"),
        tls_verify=given.get("tlsverify"),
        ca=given.get("tlscacert"),
        cert=given.get("tlscert"),
        key=given.get("tlskey"),
    )


def current_context(ctx: click.Context) -> str:
    """The name of the context that counts for this command line. Raises UsageProblem."""
    import os

    from wherry.engine import dockerconfig
    from wherry.engine.endpoint import context_name

    return context_name(wanted(ctx), os.environ, dockerconfig.current_context(dockerconfig.document()))


def each(names: Iterable[str], action: Callable[[str], None], *, show: bool = True) -> int:
    """Runs action for every name and prints the name; errors go to stderr and do not stop the rest.

    Gives the exit status: 1 if any failed. Engines that cannot be reached end it at once.
    """
    status = 0
    for name in names:
        try:
            action(name)
        except EngineProblem as exc:
            if exc.status == 0:
                raise
            click.echo(exc, err=True)
            status = 1
        else:
            if show:
                click.echo(name)
    return status


def filters_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """`-f, --filter key=value`, given as pairs."""
    option: Callable[..., Any] = _filters("-f", "--filter")(function)
    return option


def long_filters_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--filter key=value`, where -f is --force."""
    option: Callable[..., Any] = _filters("--filter")(function)
    return option


def _filters(*names: str) -> Callable[..., Any]:
    return texts(
        *names, "filters", metavar="KEY=VALUE", callback=_read_filters, help="Take only what matches."
    )


def _read_filters(
    ctx: click.Context,  # noqa: ARG001
    param: click.Parameter,  # noqa: ARG001
    given: tuple[str, ...],
) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for text in given:
        key, found, value = text.partition("=")
        if not found:
            raise BadValue("--filter", text, "bad format of filter (expected name=value)")
        pairs.append((key.strip().lower(), value.strip()))
    return pairs


def print_text(text: str) -> None:
    """Text that is complete with its newlines."""
    sys.stdout.write(text)
