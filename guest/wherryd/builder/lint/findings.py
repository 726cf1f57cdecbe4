"""What the rules find, and what of it the Dockerfile's `# check=` directive leaves out.

Source: Dockerfile reference, "check"; Docker docs, "Build checks", for names and words of the rules.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from wherryd.builder.dockerfile.errors import DockerfileError

_DOCS = "https://docs.docker.com/go/dockerfile/rule/"
#: Left out unless the directive asks for them.
EXPERIMENTAL = ("InvalidDefinitionDescription",)
#: Those that docker's documentation has no page of.
_WITHOUT_PAGE = ("InvalidBaseImagePlatform",)
RULES = (
    "ConsistentInstructionCasing",
    "CopyIgnoredFile",
    "DuplicateStageName",
    "ExposeInvalidFormat",
    "ExposeProtoCasing",
    "FromAsCasing",
    "FromPlatformFlagConstDisallowed",
    "InvalidBaseImagePlatform",
    "InvalidDefaultArgInFrom",
    "InvalidDefinitionDescription",
    "JSONArgsRecommended",
    "LegacyKeyValueFormat",
    "MaintainerDeprecated",
    "MultipleInstructionsDisallowed",
    "NoEmptyContinuation",
    "RedundantTargetPlatform",
    "ReservedStageName",
    "SecretsUsedInArgOrEnv",
    "StageNameCasing",
    "UndefinedArgInFrom",
    "UndefinedVar",
    "WorkdirRelativePath",
)


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """line, end: of the file, from 1."""

    line: int
    end: int
    rule: str
    text: str

    @property
    def url(self) -> str:
        """ "" without one."""
        if self.rule in _WITHOUT_PAGE:
            return ""
        words = re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z]+", self.rule)
        return f"{_DOCS}{'-'.join(word.lower() for word in words)}/"


@dataclass(frozen=True, slots=True)
class Choice:
    """skipped: rules that are left out. experimental: those that are taken. "all" is all of them. A name that
    is no rule's does no harm: another version of docker may have it. error: findings end the build."""

    skipped: frozenset[str] = frozenset()
    experimental: frozenset[str] = frozenset()
    error: bool = False

    def takes(self, rule: str) -> bool:
        if rule in EXPERIMENTAL:
            return bool(self.experimental & {rule, "all"})
        return not self.skipped & {rule, "all"}

    def with_comments(self, comments: Iterable[str]) -> "Choice":
        """What holds for one instruction: `# check=skip=RULE` among the comments above it. One that cannot be
        read is an ordinary comment."""
        for comment in comments:
            key, _, value = comment.partition("=")
            if key.strip().lower() != "check":
                continue
            try:
                more = choice(value.strip().split(" ")[0])
            except DockerfileError:
                return self
            return Choice(self.skipped | more.skipped, self.experimental | more.experimental, self.error)
        return self


def choice(directive: str) -> Choice:
    """`skip=RuleA,RuleB;error=true`. Raises DockerfileError."""
    names: dict[str, frozenset[str]] = {"skip": frozenset(), "experimental": frozenset()}
    error = False
    for part in filter(None, (each.strip() for each in directive.split(";"))):
        key, _, value = (each.strip() for each in part.partition("="))
        if key in names and value:
            names[key] = frozenset(name.strip() for name in value.split(",") if name.strip())
        elif key == "error" and value.lower() in ("true", "false", "1", "0", "t", "f"):
            error = value.lower() in ("true", "1", "t")
        else:
            raise DockerfileError(f'invalid check option "{part}"', "skip=RULE,RULE or error=true")
    return Choice(names["skip"], names["experimental"], error)
