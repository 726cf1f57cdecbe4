"""Rules about variables: names that nobody declared, and what cannot be told without a value."""

import difflib
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from wherryd.builder.dockerfile import instructions as ins
from wherryd.builder.dockerfile.errors import DockerfileError
from wherryd.builder.dockerfile.shell import Lexer
from wherryd.builder.lint.findings import Finding
from wherryd.builder.lint.writing import Step
from wherryd.builder.variables import PROXIES, platform_arguments
from wherryd.errors import InvalidParameter
from wherryd.images import platforms
from wherryd.images.image import Platform


@dataclass(frozen=True, slots=True)
class Base:
    """An image that is here. config: with "Env" and "Shell"."""

    config: Mapping[str, object]
    platform: Platform


#: An image by its name; None when nobody here knows it.
Bases = Callable[[str], Base | None]

_AUTOMATIC = frozenset(platform_arguments(platforms.host(), platforms.host()))
#: With a value of its own for the case that it is not set.
_CARED_FOR = re.compile(r"\$\{(\w+):?[-+?]")


class _Scope:
    """Names that a stage knows; unknown: the image below it may have any. workdir: whether the Dockerfile set
    one: what the base image has may change. shell: whether a SHELL is set, here or below."""

    def __init__(self, below: "_Scope | None" = None) -> None:
        self.names: set[str] = set(below.names) if below else {"PATH", *PROXIES}
        self.unknown: bool = below.unknown if below else False
        self.workdir: bool = below.workdir if below else False
        self.shell: bool = below.shell if below else False


class Variables:
    def __init__(self, escape: str, bases: Bases, platform: Platform) -> None:
        """platform: of the build."""
        self._lexer = Lexer(escape=escape)
        self._bases = bases
        self._platform = platform
        self._globals: dict[str, str] = {}
        self._declared: set[str] = set(_AUTOMATIC)
        self._stages: dict[str, _Scope] = {}

    def findings(self, steps: Sequence[Step]) -> Iterator[Finding]:
        scope = _Scope()
        for step in steps:
            found = step.instruction
            if isinstance(found, ins.From):
                yield from self._from(step, found)
                scope = self._begin(found)
                if found.name:
                    self._stages[found.name] = scope
                self._stages[str(step.stage)] = scope
            elif step.stage < 0:
                self._global(found)
            else:
                yield from self._step(step, scope)

    def _global(self, found: ins.Instruction) -> None:
        for pair in found.pairs if isinstance(found, ins.Arg) else ():
            self._declared.add(pair.name)
            if pair.value is not None:
                self._globals[pair.name] = self._expanded(pair.value) or ""

    def _expanded(self, word: str) -> str | None:
        try:
            return self._lexer.expand(word, self._globals)
        except DockerfileError:
            return None

    def _used(self, words: Sequence[str]) -> Iterator[str]:
        """Names that the words use without caring for the case that they are not set, each once."""
        used: set[str] = set()
        for word in words:
            try:
                self._lexer.expand(word, {}, looked_up := set[str]())
            except DockerfileError:
                continue  # the build says what is wrong
            used |= looked_up - set(_CARED_FOR.findall(word))
        return iter(sorted(name for name in used if name.isidentifier()))

    def _from(self, step: Step, found: ins.From) -> Iterator[Finding]:
        unknown = [name for name in self._used((found.base, found.platform)) if name not in self._declared]
        for name in unknown:
            yield step.finding(
                "UndefinedArgInFrom", f"FROM argument '{name}' is not declared{_like(name, self._declared)}"
            )
        if not unknown and "$" in found.base and not _is_reference(self._expanded(found.base)):
            yield step.finding(
                "InvalidDefaultArgInFrom",
                f"Default value for ARG {found.base} results in empty or invalid base image name",
            )
        yield from self._other_platform(step, found)

    def _other_platform(self, step: Step, found: ins.From) -> Iterator[Finding]:
        name = self._expanded(found.base) or ""
        base = None if name.lower() in self._stages else self._bases(name) if name else None
        if base is None:
            return
        automatic = platform_arguments(self._platform, platforms.host())
        try:
            text = self._lexer.expand(found.platform, {**automatic, **self._globals})
            wanted = platforms.parse(text) if text else self._platform
        except (DockerfileError, InvalidParameter):
            return  # the build says so
        if (wanted.os, wanted.architecture) != (base.platform.os, base.platform.architecture):
            yield step.finding(
                "InvalidBaseImagePlatform",
                f'Base image {name} was pulled with platform "{_shown(base.platform)}", '
                f'expected "{_shown(wanted)}" for current build',
            )

    def _begin(self, found: ins.From) -> _Scope:
        base = self._expanded(found.base) or ""
        if (below := self._stages.get(base.lower())) is not None and not base.isdecimal():
            return _Scope(below)
        scope = _Scope()
        if base == "scratch":
            return scope
        image = self._bases(base) if base else None
        if image is None:
            scope.unknown = True
            return scope
        environment = image.config.get("Env")
        for each in environment if isinstance(environment, list) else ():
            scope.names.add(str(each).partition("=")[0])
        scope.shell = bool(image.config.get("Shell"))
        return scope

    def _step(self, step: Step, scope: _Scope) -> Iterator[Finding]:
        found = step.instruction
        for name in self._used(_words(found)):
            if name not in scope.names and not scope.unknown:
                yield step.finding(
                    "UndefinedVar", f"Usage of undefined variable '${name}'{_like(name, scope.names, '$')}"
                )
        if isinstance(found, ins.Arg | ins.Env):
            scope.names.update(pair.name for pair in found.pairs)
        if isinstance(found, ins.Workdir):
            path = found.path
            if (
                not scope.workdir
                and not path.startswith(("/", "$"))
                and not posixpath.isabs(path.strip("\"'"))
            ):
                yield step.finding(
                    "WorkdirRelativePath",
                    f'Relative workdir "{path}" can have unexpected results if the base image changes',
                )
            scope.workdir = True
        if isinstance(found, ins.Shell):
            scope.shell = True
        if isinstance(found, ins.Cmd | ins.Entrypoint) and found.command.shell and not scope.shell:
            yield step.finding(
                "JSONArgsRecommended",
                f"JSON arguments recommended for {found.keyword} to prevent unintended behavior "
                "related to OS signals",
            )


def _words(found: ins.Instruction) -> Sequence[str]:
    """What the builder itself expands; a RUN's variables are its shell's."""
    match found:
        case ins.Copy():
            return (
                *found.sources,
                found.destination,
                found.chown,
                found.chmod,
                found.origin,
                *found.excludes,
            )
        case ins.Add():
            return (*found.sources, found.destination, found.chown, found.chmod, *found.excludes)
        case ins.Env() | ins.Label():
            return [each for pair in found.pairs for each in (pair.name, pair.value)]
        case ins.Arg():
            return [pair.value for pair in found.pairs if pair.value is not None]
        case ins.Expose():
            return found.ports
        case ins.Volume():
            return found.paths
        case ins.User():
            return (found.user,)
        case ins.Workdir():
            return (found.path,)
        case ins.StopSignal():
            return (found.signal,)
        case _:
            return ()


def _like(name: str, known: set[str], sign: str = "") -> str:
    near = difflib.get_close_matches(name, sorted(known), 1)
    return f" (did you mean {sign}{near[0]}?)" if near else ""


def _shown(platform: Platform) -> str:
    return "/".join(filter(None, (platform.os, platform.architecture, platform.variant)))


def _is_reference(text: str | None) -> bool:
    return bool(text) and re.fullmatch(r"[\w][\w./:@-]*[\w]|\w", text or "") is not None
