"""The whole file: global ARGs, then stages of instructions."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from wherryd.builder.dockerfile import instructions as ins
from wherryd.builder.dockerfile.errors import DockerfileError, placed
from wherryd.builder.dockerfile.lines import Source
from wherryd.builder.dockerfile.parser import Node, parse
from wherryd.builder.dockerfile.parser import Warning as ParseWarning
from wherryd.builder.dockerfile.typed import instruction
from wherryd.errors import EngineError

#: `# syntax=` names a program that reads the file. Ours reads docker's own language.
_OUR_SYNTAX = re.compile(r"(docker\.io/)?docker/dockerfile(-upstream)?(:[\w.-]+)?(@sha256:[0-9a-f]{64})?")


@dataclass(frozen=True, slots=True)
class Stage:
    """number: from 0, as `COPY --from=0` counts."""

    number: int
    start: ins.From
    steps: tuple[ins.Instruction, ...]

    @property
    def name(self) -> str:
        return self.start.name or str(self.number)


@dataclass(frozen=True, slots=True)
class Program:
    """arguments: ARGs before the first FROM. warnings: in Docker's words. source: for messages."""

    escape: str
    arguments: tuple[ins.Arg, ...]
    stages: tuple[Stage, ...]
    warnings: tuple[str, ...]
    source: Source

    @contextmanager
    def placing(self, instruction: ins.Instruction) -> Iterator[None]:
        """What is raised inside shows the instruction's lines."""
        try:
            yield
        except EngineError as exc:
            placed(exc, instruction.line, self.source.shown(instruction.line, instruction.end))
            raise

    def find(self, name: str) -> Stage | None:
        """By name, the last of that name, or by number."""
        for stage in reversed(self.stages):
            if stage.start.name == name.lower():
                return stage
        number = int(name) if name.isdecimal() and name.isascii() and len(name) < 6 else -1
        return self.stages[number] if 0 <= number < len(self.stages) else None


def read(data: bytes, syntax: str = "") -> Program:
    """syntax: in place of the file's directive. Raises DockerfileError with its place."""
    file = parse(data)
    refused = _refused(syntax or file.syntax)
    if refused is not None:
        raise refused if syntax else file.source.at_directive(refused, "syntax")
    arguments: list[ins.Arg] = []
    groups: list[tuple[ins.From, list[ins.Instruction]]] = []
    for node in file.nodes:
        try:
            found = instruction(node)
            if isinstance(found, ins.From):
                groups.append((found, []))
            elif groups:
                groups[-1][1].append(found)
            elif isinstance(found, ins.Arg):
                arguments.append(found)
            else:
                raise DockerfileError("no build stage in current context", "begin with FROM")
        except DockerfileError as exc:
            raise exc.at(node.start, file.source.shown(node.start, node.end)) from exc.__cause__
    if not groups:
        raise DockerfileError("no build stage in current context", "a FROM is missing")
    stages = tuple(Stage(number, start, tuple(steps)) for number, (start, steps) in enumerate(groups))
    return Program(file.escape, tuple(arguments), stages, _warnings(file.warnings), file.source)


def _refused(syntax: str) -> DockerfileError | None:
    frontend = syntax.split(" ")[0]
    if not frontend or _OUR_SYNTAX.fullmatch(frontend):
        return None
    return DockerfileError(
        f'the syntax directive asks for the frontend "{frontend}", which is not available',
        "only docker/dockerfile is understood; take the line out if the file is an ordinary Dockerfile",
    )


def _warnings(found: Sequence[ParseWarning]) -> tuple[str, ...]:
    if not found:
        return ()
    return (
        *(f"[WARNING]: {each.text}" for each in found),
        "[WARNING]: Empty continuation lines will become errors in a future release.",
    )


def read_trigger(text: str, image: str) -> ins.Instruction:
    """An ONBUILD trigger of an image. Raises DockerfileError."""
    nodes: Sequence[Node] = parse(text.encode()).nodes
    if len(nodes) != 1:
        raise DockerfileError(
            f"a trigger of image {image} is not one instruction: {text}", "build that image again"
        )
    return instruction(nodes[0])
