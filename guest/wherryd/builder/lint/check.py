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
from wherryd.builder.lint.findings import Finding
from wherryd.builder.lint.variables import Configs, Variables
from wherryd.builder.lint.writing import Step
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


def check(data: bytes, configs: Configs, ignored: Matcher | None = None) -> Checked:
    """configs: of images that are here. ignored: the context's `.dockerignore`. Raises DockerfileError."""
    read(data)  # what is wrong with the whole
    file = parse(data)
    try:
        choice = findings.choice(file.directives.get("check", ""))
    except DockerfileError as exc:
        raise file.source.at_directive(exc, "check") from exc.__cause__
    steps = _steps(file)
    found = [
        *writing.findings(steps, ignored),
        *Variables(file.escape, configs).findings(steps),
        *(
            Finding(each.line, each.line, "NoEmptyContinuation", "Empty continuation line")
            for each in file.warnings
        ),
    ]
    lines = data.decode("utf-8", "replace").splitlines()
    return Checked(choice.of(found), choice.error, lines)


def _steps(file: Dockerfile) -> list[Step]:
    steps: list[Step] = []
    stage = -1
    for node in file.nodes:
        found = instruction(node)
        stage += isinstance(found, ins.From)
        steps.append(Step(node, found, stage))
    return steps
