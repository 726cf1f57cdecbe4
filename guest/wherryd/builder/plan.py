"""Which stages a build needs: those its target stands on or copies from, and no other."""

import itertools
from collections.abc import Callable, Iterator, Mapping

from wherryd.builder.dockerfile import instructions as ins
from wherryd.builder.dockerfile import mounts
from wherryd.builder.dockerfile.errors import DockerfileError
from wherryd.builder.dockerfile.stages import Program, Stage
from wherryd.errors import InvalidParameter


def target(program: Program, name: str) -> Stage:
    """Raises InvalidParameter."""
    if not name:
        return program.stages[-1]
    found = program.find(name)
    if found is None:
        known = ", ".join(stage.name for stage in program.stages)
        raise InvalidParameter(f'target stage "{name}" could not be found (hint: this file has {known})')
    return found


def earlier(program: Program, stage: Stage, name: str, *, by_number: bool) -> Stage | None:
    """The stage before this one that a FROM or a --from names; None when it names an image."""
    for other in reversed(program.stages[: stage.number]):
        if other.start.name and other.start.name == name.lower():
            return other
    if by_number and name.isdecimal() and name.isascii() and len(name) < 6:
        if int(name) >= stage.number:
            raise DockerfileError(
                f"invalid from flag value {name}: "
                + ("refers to current build stage" if int(name) == stage.number else "index out of bounds"),
                f"a stage before this one: 0 to {stage.number - 1}"
                if stage.number
                else "no stage is before this one",
            )
        return program.stages[int(name)]
    return None


def nothing(_name: str) -> bool:
    """No context has this name."""
    return False


def needed(
    program: Program, last: Stage, base: Callable[[Stage], str], named: Callable[[str], bool] = nothing
) -> dict[int, frozenset[int]]:
    """The stages that `last` needs, in the order of the file, each with those that it stands on or copies
    from. base: a stage's FROM with its variables put in. named: whether a named context is in a name's place.
    """
    found: dict[int, frozenset[int]] = {}
    waiting = [last]
    while waiting:
        stage = waiting.pop()
        if stage.number in found:
            continue
        below = None if named(base(stage)) else earlier(program, stage, base(stage), by_number=False)
        used = [each for each in (below, *_origins(program, stage, named)) if each is not None]
        found[stage.number] = frozenset(each.number for each in used)
        waiting += used
    return dict(sorted(found.items()))


def is_chain(needs: Mapping[int, frozenset[int]]) -> bool:
    """Whether each stage has to wait for the one before it, so that no two can run at once."""
    numbers = list(needs)
    reach: dict[int, set[int]] = {}
    for number in numbers:
        reach[number] = set(needs[number]).union(*(reach[each] for each in needs[number]))
    return all(before in reach[number] for before, number in itertools.pairwise(numbers))


def _origins(program: Program, stage: Stage, named: Callable[[str], bool]) -> Iterator[Stage | None]:
    """What the stage's steps copy or mount from. One with a variable is looked up when its step comes."""
    for step in stage.steps:
        names: list[str] = []
        if isinstance(step, ins.Copy) and step.origin and "$" not in step.origin:
            names.append(step.origin)
        if isinstance(step, ins.Run):
            names += [name for text in step.mounts if (name := mounts.origin(text))]
        with program.placing(step):
            for name in names:
                yield None if named(name) else earlier(program, stage, name, by_number=True)
