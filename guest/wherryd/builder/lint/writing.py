"""Rules about how a Dockerfile is written: each looks at instructions, and at no value of a variable."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from wherryd.builder.copying import sources
from wherryd.builder.copying.errors import CopyError
from wherryd.builder.dockerfile import instructions as ins
from wherryd.builder.dockerfile.parser import Node
from wherryd.builder.lint.findings import Finding
from wherrywire.dockerignore import Matcher

_RESERVED = ("context", "scratch")
_ONLY_LAST = ("CMD", "ENTRYPOINT", "HEALTHCHECK")
_SECRET = re.compile(
    r"(?:^|_)(?:apikey|auth|credential|credentials|key|password|pword|passwd|secret|token)(?:_|$)",
    re.IGNORECASE,
)
_PUBLIC = re.compile(r"(?:^|_)(?:public|file|version)(?:_|$)", re.IGNORECASE)
_TARGET_PLATFORM = re.compile(r"\$(?:TARGETPLATFORM|\{TARGETPLATFORM\})")


@dataclass(frozen=True, slots=True)
class Step:
    """An instruction as it was written, and as it was understood. stage: from 0, -1 before the first FROM."""

    node: Node
    instruction: ins.Instruction
    stage: int

    def finding(self, rule: str, text: str) -> Finding:
        return Finding(self.node.start, self.node.end, rule, text)


def findings(steps: Sequence[Step], ignored: Matcher | None) -> Iterator[Finding]:
    """ignored: the context's `.dockerignore`."""
    for step in steps:
        for rule in _RULES:
            yield from rule(step)
        if ignored is not None:
            yield from _copied(step, ignored)
    yield from _casing(steps)
    yield from _names(steps)
    yield from _repeated(steps)


def _casing(steps: Sequence[Step]) -> Iterator[Finding]:
    upper = sum(step.node.keyword.isupper() for step in steps)
    lower = sum(step.node.keyword.islower() for step in steps)
    wanted = "lowercase" if lower > upper else "uppercase"
    for step in steps:
        keyword = step.node.keyword
        if keyword != (keyword.lower() if wanted == "lowercase" else keyword.upper()):
            yield step.finding(
                "ConsistentInstructionCasing",
                f"Command '{keyword}' should match the case of the command majority ({wanted})",
            )


def _names(steps: Sequence[Step]) -> Iterator[Finding]:
    seen: set[str] = set()
    for step in steps:
        if not isinstance(step.instruction, ins.From) or not step.instruction.name:
            continue
        name, written = step.instruction.name, step.node.words[2]
        if written != name:
            yield step.finding("StageNameCasing", f"Stage name '{written}' should be lowercase")
        if name in _RESERVED:
            yield step.finding(
                "ReservedStageName", f'Stage name should not use the same name as reserved stage "{name}"'
            )
        if name in seen:
            yield step.finding(
                "DuplicateStageName", f'Duplicate stage name "{name}", stage names should be unique'
            )
        seen.add(name)


def _repeated(steps: Sequence[Step]) -> Iterator[Finding]:
    last: dict[tuple[int, str], Step] = {}
    for step in steps:
        keyword = step.instruction.keyword
        if keyword not in _ONLY_LAST:
            continue
        before = last.get((step.stage, keyword))
        if before is not None:
            yield before.finding(
                "MultipleInstructionsDisallowed",
                f"Multiple {keyword} instructions should not be used in the same stage "
                "because only the last one will be used",
            )
        last[step.stage, keyword] = step


def _as(step: Step) -> Iterator[Finding]:
    words = step.node.words
    if isinstance(step.instruction, ins.From) and len(words) == 3:
        keyword = step.node.keyword
        if (keyword.isupper(), keyword.islower()) != (words[1].isupper(), words[1].islower()):
            yield step.finding("FromAsCasing", f"'{words[1]}' and '{keyword}' keywords' casing do not match")


def _platform(step: Step) -> Iterator[Finding]:
    platform = step.instruction.platform if isinstance(step.instruction, ins.From) else ""
    if _TARGET_PLATFORM.fullmatch(platform):
        yield step.finding(
            "RedundantTargetPlatform",
            f"Setting platform to predefined {platform} in FROM is redundant as this is the default behavior",
        )
    elif platform and "$" not in platform and not _named_after(step, platform):
        yield step.finding(
            "FromPlatformFlagConstDisallowed",
            f'FROM --platform flag should not use constant value "{platform}"',
        )


def _named_after(step: Step, platform: str) -> bool:
    """Whether the stage says itself what it is for: `FROM --platform=linux/arm64 base AS base-arm64`."""
    name = step.instruction.name if isinstance(step.instruction, ins.From) else ""
    return any(part in name for part in platform.lower().split("/")[:2])


def _description(step: Step) -> Iterator[Finding]:
    """The last comment above a stage or ARG: what tools show as its description."""
    found, comments = step.instruction, step.node.comments
    names: list[str] = []
    if isinstance(found, ins.From) and found.name:
        names = [found.name]
    elif isinstance(found, ins.Arg):
        names = [pair.name for pair in found.pairs]
    if comments and names and comments[-1].split(" ")[0] not in names:
        shown = names[0] if len(names) == 1 else "<arg_key>"
        yield step.finding(
            "InvalidDefinitionDescription",
            f"Comment for {found.keyword} should follow the format: `# {shown} <description>`",
        )


def _maintainer(step: Step) -> Iterator[Finding]:
    if isinstance(step.instruction, ins.Maintainer):
        yield step.finding(
            "MaintainerDeprecated", "Maintainer instruction is deprecated in favor of using label"
        )


def _legacy(step: Step) -> Iterator[Finding]:
    if isinstance(step.instruction, ins.Env | ins.Label) and any(
        not pair.separator for pair in step.instruction.pairs
    ):
        keyword = step.instruction.keyword
        yield step.finding(
            "LegacyKeyValueFormat",
            f'"{keyword} key=value" should be used instead of legacy "{keyword} key value" format',
        )


def _secret(step: Step) -> Iterator[Finding]:
    if not isinstance(step.instruction, ins.Env | ins.Arg):
        return
    for pair in step.instruction.pairs:
        if _SECRET.search(pair.name) and not _PUBLIC.search(pair.name):
            yield step.finding(
                "SecretsUsedInArgOrEnv",
                "Do not use ARG or ENV instructions for sensitive data "
                f'({step.instruction.keyword} "{pair.name}")',
            )


def _ports(step: Step) -> Iterator[Finding]:
    for port in step.instruction.ports if isinstance(step.instruction, ins.Expose) else ():
        number, _, protocol = port.partition("/")
        if "$" in port:
            continue
        if protocol != protocol.lower():
            yield step.finding(
                "ExposeProtoCasing", f"Defined protocol '{port}' in EXPOSE instruction should be lowercase"
            )
        if ":" in number:
            yield step.finding(
                "ExposeInvalidFormat",
                f"EXPOSE instruction should not define an IP address or host-port mapping, found '{port}'",
            )


def _copied(step: Step, ignored: Matcher) -> Iterator[Finding]:
    found = step.instruction
    if not isinstance(found, ins.Transfer) or (isinstance(found, ins.Copy) and found.origin):
        return
    for source in found.sources:
        if "$" in source or "://" in source:
            continue
        try:
            path = sources.clean(source)
        except CopyError:
            continue  # the build says so
        if path and ignored.excludes(path) and not ignored.may_hold_exceptions(path):
            verb = "Add" if found.keyword == "ADD" else "Copy"
            yield step.finding(
                "CopyIgnoredFile", f'Attempting to {verb} file "{path}" that is excluded by .dockerignore'
            )


_RULES: tuple[Callable[[Step], Iterator[Finding]], ...] = (
    _as, _platform, _maintainer, _legacy, _secret, _ports, _description,
)  # fmt: skip
