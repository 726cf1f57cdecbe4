"""Which files of its context a Dockerfile can need, before anything of it is known but its text."""

import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence

from wherryd.builder import plan
from wherryd.builder.context import MAX_DOCKERFILE_BYTES
from wherryd.builder.copying import sources
from wherryd.builder.copying.errors import CopyError
from wherryd.builder.dockerfile import instructions as ins
from wherryd.builder.dockerfile import mounts
from wherryd.builder.dockerfile.errors import DockerfileError
from wherryd.builder.dockerfile.shell import Lexer
from wherryd.builder.dockerfile.stages import Program, Stage, read, read_trigger
from wherryd.builder.download import SCHEMES
from wherryd.builder.git import address
from wherryd.errors import InvalidParameter

EVERYTHING = ("",)
#: The triggers of an image by its name; None when it is not here, so that nobody knows yet.
Triggers = Callable[[str], Sequence[str] | None]

_MOUNT_TYPE = re.compile(r"(?:^|,)type=(\w+)(?:,|$)", re.IGNORECASE)


async def paths(
    dockerfile: AsyncIterator[bytes],
    target: str,
    build_args: Mapping[str, str | None],
    triggers: Triggers,
    named: Callable[[str], bool] = plan.nothing,
) -> tuple[str, ...]:
    """Patterns as COPY has them; EVERYTHING when that cannot be told. target: the stage that is wanted.
    named: whether a named context is in a name's place.

    Raises InvalidParameter for what is wrong with the file: the build would end with that, too."""
    return of_program(read(await dockerfile_of(dockerfile)), target, build_args, triggers, named)


def of_program(
    program: Program,
    target: str,
    build_args: Mapping[str, str | None],
    triggers: Triggers,
    named: Callable[[str], bool] = plan.nothing,
) -> tuple[str, ...]:
    """The same, of a Dockerfile that was read."""
    lexer = Lexer(escape=program.escape)
    known = _globals(program, lexer, build_args)

    def base(stage: Stage) -> str:
        with program.placing(stage.start):
            return lexer.expand(stage.start.base, known)

    found: set[str] = set()
    for number in plan.needed(program, plan.target(program, target), base, named):
        stage = program.stages[number]
        name = base(stage)
        if named(name):
            return EVERYTHING  # nobody knows yet what image it is, and which triggers that has
        if plan.earlier(program, stage, name, by_number=False) is None and name != "scratch":
            inherited = triggers(name)
            if inherited is None:
                return EVERYTHING
            with program.placing(stage.start):
                for text in inherited:
                    found.update(_of_step(read_trigger(text, name), lexer))
        for step in stage.steps:
            with program.placing(step):
                found.update(_of_step(step, lexer))
    return tuple(sorted(found))


async def dockerfile_of(stream: AsyncIterator[bytes]) -> bytes:
    """Raises InvalidParameter when it is too long."""
    data = b""
    async for more in stream:
        data += more
        if len(data) > MAX_DOCKERFILE_BYTES:
            raise InvalidParameter(f"a Dockerfile of more than {MAX_DOCKERFILE_BYTES} bytes")
    return data


def _globals(program: Program, lexer: Lexer, build_args: Mapping[str, str | None]) -> dict[str, str]:
    known: dict[str, str] = {}
    for argument in program.arguments:
        for pair in argument.pairs:
            value = build_args.get(pair.name)
            if value is None and pair.value is not None:
                with program.placing(argument):
                    value = lexer.expand(pair.value, known)
            if value is not None:
                known[pair.name] = value
    return known


def _of_step(step: ins.Instruction, lexer: Lexer) -> Iterator[str]:
    if isinstance(step, ins.OnBuild):
        # A later stage may stand on this one.
        yield from _of_step(read_trigger(step.trigger, "this file"), lexer)
    elif isinstance(step, ins.Copy | ins.Add):
        if isinstance(step, ins.Copy) and step.origin and "$" not in step.origin:
            return
        for source in step.sources:
            if not source.startswith(SCHEMES) and not address.is_git(source):
                yield _pattern(source, lexer)
    elif isinstance(step, ins.Run):
        for text in step.mounts:
            yield from _of_mount(text, lexer)


def _of_mount(text: str, lexer: Lexer) -> Iterator[str]:
    kind = _MOUNT_TYPE.search(text)
    if mounts.origin(text) or (kind is not None and kind[1].lower() != "bind"):
        return
    source = "/"
    for each in mounts.fields(text):
        key, _, value = each.partition("=")
        if key.lower() in ("source", "src"):
            source = value
    yield _pattern(source, lexer)


def _pattern(word: str, lexer: Lexer) -> str:
    """Up to a part with a variable in it, whose value only the build knows."""
    known: list[str] = []
    for part in word.split("/"):
        if "$" in part:
            break
        known.append(part)
    try:
        return sources.clean(lexer.expand("/".join(known), {}))
    except (CopyError, DockerfileError):
        return ""
