"""What the rules find, and what of it the Dockerfile's `# check=` directive leaves out.

Source: Dockerfile reference, "check"; Docker docs, "Build checks", for names and words of the rules.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from wherryd.builder.dockerfile.errors import DockerfileError

_DOCS = "https://docs.docker.com/go/dockerfile/rule/"
RULES = (
    "ConsistentInstructionCasing",
    "CopyIgnoredFile",
    "DuplicateStageName",
    "ExposeInvalidFormat",
    "ExposeProtoCasing",
    "FromAsCasing",
    "FromPlatformFlagConstDisallowed",
    "InvalidDefaultArgInFrom",
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
        words = re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z]+", self.rule)
        return f"{_DOCS}{'-'.join(word.lower() for word in words)}/"


@dataclass(frozen=True, slots=True)
class Choice:
    """skipped: rules that are left out. error: findings end the build."""

    skipped: frozenset[str] = frozenset()
    error: bool = False

    def of(self, findings: Iterable[Finding]) -> list[Finding]:
        return sorted({each for each in findings if not self.skipped & {each.rule, "all"}})


def choice(directive: str) -> Choice:
    """`skip=RuleA,RuleB;error=true`. Raises DockerfileError."""
    skipped: frozenset[str] = frozenset()
    error = False
    for part in filter(None, (each.strip() for each in directive.split(";"))):
        key, _, value = part.partition("=")
        match key.strip().lower():
            case "skip":
                skipped = frozenset(name.strip() for name in value.split(",") if name.strip())
                if unknown := sorted(skipped - {*RULES, "all"}):
                    raise DockerfileError(
                        f"check: there is no rule {', '.join(unknown)}", f"the rules are {', '.join(RULES)}"
                    )
            case "error" if value.strip().lower() in ("true", "false"):
                error = value.strip().lower() == "true"
            case "experimental":
                pass  # its rules are none of ours
            case _:
                raise DockerfileError(f'invalid check option "{part}"', "skip=RULE,RULE or error=true")
    return Choice(skipped, error)
