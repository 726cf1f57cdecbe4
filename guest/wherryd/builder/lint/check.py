"""All rules over one Dockerfile."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wherryd.builder.dockerfile import instructions as ins
from wherryd.builder.dockerfile.errors import DockerfileError
from wherryd.builder.dockerfile.parser import Dockerfile, parse
from wherryd.builder.dockerfile.stages import read
from wherryd.builder.dockerfile.typed import instruction
from wherryd.builder.lint import findings, writing
from wherryd.builder.lint.findings import Choice, Finding
from wherryd.builder.lint.variables import Bases, Variables
from wherryd.builder.lint.writing import Step
from wherryd.images import platforms
from wherrywire.dockerignore import Matcher


@dataclass(frozen=True, slots=True)
class Checked:
    """error: the Dockerfile's directive wants the build to end when there are findings."""

    findings: Sequence[Finding]
    error: bool
    lines: Sequence[str]

    def refuse(self) -> None:
        """Raises DockerfileError when findings are to end the build."""
        if self.error and self.findings:
            first = self.findings[0]
            rules = ", ".join(sorted({each.rule for each in self.findings}))
            raise DockerfileError(
                f"lint violation found for rules: {rules}; the first: {first.text}",
                "correct it, or take error=true out of the check directive",
            ).at(first.line, self.lines[first.line - 1 : first.end])

    def document(self) -> dict[str, Any]:
        """{"Warnings": [{"Rule", "Url", "Detail", "Line", "End"}], "Lines": the file's, "Error": bool}"""
        return {
            "Warnings": [
                {"Rule": each.rule, "Url": each.url, "Detail": each.text, "Line": each.line, "End": each.end}
                for each in self.findings
            ],
            "Lines": list(self.lines),
            "Error": self.error,
        }


def check(
    data: bytes, bases: Bases, ignored: Matcher | None = None, platform: str = "", directive: str = ""
) -> Checked:
    """bases: images that are here. ignored: the context's `.dockerignore`. platform: of the build, "" for the
    machine's. directive: in place of the file's own. Raises DockerfileError."""
    read(data)  # what is wrong with the whole
    file = parse(data)
    choice = findings.choice(directive) if directive else _choice(file)
    steps = _steps(file)
    found = [
        *writing.findings(steps, ignored),
        *Variables(file.escape, bases, platforms.parse(platform)).findings(steps),
        *(
            Finding(each.line, each.line, "NoEmptyContinuation", "Empty continuation line")
            for each in file.warnings
        ),
    ]
    lines = data.decode("utf-8", "replace").splitlines()
    return Checked(_chosen(found, choice, steps), choice.error, lines)


def _choice(file: Dockerfile) -> Choice:
    try:
        return findings.choice(file.directives.get("check", ""))
    except DockerfileError as exc:
        raise file.source.at_directive(exc, "check") from exc.__cause__


def _chosen(found: Sequence[Finding], choice: Choice, steps: Sequence[Step]) -> list[Finding]:
    def of(finding: Finding) -> Choice:
        for step in steps:
            if step.node.start <= finding.line <= step.node.end:
                return choice.with_comments(step.node.comments)
        return choice

    return sorted({each for each in found if of(each).takes(each.rule)})


def _steps(file: Dockerfile) -> list[Step]:
    steps: list[Step] = []
    stage = -1
    for node in file.nodes:
        found = instruction(node)
        stage += isinstance(found, ins.From)
        steps.append(Step(node, found, stage))
    return steps
