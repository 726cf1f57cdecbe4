"""The rules of --check: what each finds, and what it leaves alone."""

import pytest

from wherryd.builder.dockerfile.errors import DockerfileError
from wherryd.builder.lint.check import Checked, check
from wherryd.builder.lint.findings import EXPERIMENTAL, RULES
from wherryd.builder.lint.variables import Base
from wherryd.images import platforms
from wherryd.images.image import Platform
from wherrywire.dockerignore import Matcher

HERE = platforms.host()
IMAGES = {
    "alpine": Base({"Env": ["PATH=/bin", "FROM_BASE=1"], "WorkingDir": "/from/base"}, HERE),
    "bash": Base({"Shell": ["/bin/bash", "-c"]}, HERE),
    "elsewhere": Base({}, Platform("linux", "s390x")),
}


def checked(text: str, *ignored: str, platform: str = "") -> Checked:
    return check(text.encode(), IMAGES.get, Matcher(ignored) if ignored else None, platform)


def found(text: str, *ignored: str) -> list[tuple[str, int]]:
    return [(each.rule, each.line) for each in checked(text, *ignored).findings]


CASES = [
    ("FROM alpine AS Big\n", "StageNameCasing", 1, "Stage name 'Big' should be lowercase"),
    ("FROM alpine as small\n", "FromAsCasing", 1, "'as' and 'FROM' keywords' casing do not match"),
    ("FROM alpine\nRUN a \\\n\n b\n", "NoEmptyContinuation", 4, "Empty continuation line"),
    (
        "FROM alpine\nRUN a\nrun b\n",
        "ConsistentInstructionCasing",
        3,
        "Command 'run' should match the case of the command majority (uppercase)",
    ),
    (
        "FROM alpine AS a\nFROM alpine AS a\n",
        "DuplicateStageName",
        2,
        'Duplicate stage name "a", stage names should be unique',
    ),
    (
        "FROM alpine AS scratch\n",
        "ReservedStageName",
        1,
        'Stage name should not use the same name as reserved stage "scratch"',
    ),
    (
        "FROM alpine\nCMD echo hi\n",
        "JSONArgsRecommended",
        2,
        "JSON arguments recommended for CMD to prevent unintended behavior related to OS signals",
    ),
    (
        "FROM alpine\nMAINTAINER me\n",
        "MaintainerDeprecated",
        2,
        "Maintainer instruction is deprecated in favor of using label",
    ),
    (
        "ARG VERSION=1\nFROM alpine:${VERSIO}\n",
        "UndefinedArgInFrom",
        2,
        "FROM argument 'VERSIO' is not declared (did you mean VERSION?)",
    ),
    (
        "FROM alpine\nWORKDIR app\n",
        "WorkdirRelativePath",
        2,
        'Relative workdir "app" can have unexpected results if the base image changes',
    ),
    (
        "FROM alpine\nARG SOURCE=a\nCOPY $SORCE /\n",
        "UndefinedVar",
        3,
        "Usage of undefined variable '$SORCE' (did you mean $SOURCE?)",
    ),
    (
        'FROM alpine\nCMD ["a"]\nCMD ["b"]\n',
        "MultipleInstructionsDisallowed",
        2,
        "Multiple CMD instructions should not be used in the same stage "
        "because only the last one will be used",
    ),
    (
        "FROM alpine\nENV a b c\n",
        "LegacyKeyValueFormat",
        2,
        '"ENV key=value" should be used instead of legacy "ENV key value" format',
    ),
    (
        "FROM --platform=$TARGETPLATFORM alpine\n",
        "RedundantTargetPlatform",
        1,
        "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
    ),
    (
        "FROM alpine\nARG DB_PASSWORD\n",
        "SecretsUsedInArgOrEnv",
        2,
        'Do not use ARG or ENV instructions for sensitive data (ARG "DB_PASSWORD")',
    ),
    (
        "ARG TAG\nFROM alpine:${TAG}\n",
        "InvalidDefaultArgInFrom",
        2,
        "Default value for ARG alpine:${TAG} results in empty or invalid base image name",
    ),
    (
        "FROM --platform=linux/amd64 nobody\n",
        "FromPlatformFlagConstDisallowed",
        1,
        'FROM --platform flag should not use constant value "linux/amd64"',
    ),
    (
        "FROM alpine\nEXPOSE 80/TCP\n",
        "ExposeProtoCasing",
        2,
        "Defined protocol '80/TCP' in EXPOSE instruction should be lowercase",
    ),
    (
        "FROM alpine\nEXPOSE 80:8080\n",
        "ExposeInvalidFormat",
        2,
        "EXPOSE instruction should not define an IP address or host-port mapping, found '80:8080'",
    ),
    (
        "FROM elsewhere\n",
        "InvalidBaseImagePlatform",
        1,
        f'Base image elsewhere was pulled with platform "linux/s390x", expected "linux/{HERE.architecture}" '
        "for current build",
    ),
    (
        "# check=experimental=InvalidDefinitionDescription\n# the stage with it all\nFROM alpine AS build\n",
        "InvalidDefinitionDescription",
        3,
        "Comment for FROM should follow the format: `# build <description>`",
    ),
]


#: Rule -> what it leaves alone.
WELL_WRITTEN = {
    "StageNameCasing": "FROM alpine AS big\n",
    "FromAsCasing": "FROM alpine AS small\n",
    "NoEmptyContinuation": "FROM alpine\nRUN a \\\n # why\n b\n",
    "ConsistentInstructionCasing": "from alpine\nrun a\nrun b\n",
    "DuplicateStageName": "FROM alpine AS a\nFROM alpine AS b\n",
    "ReservedStageName": "FROM alpine AS scratchy\n",
    "JSONArgsRecommended": 'FROM alpine\nSHELL ["/bin/sh", "-ec"]\nCMD echo hi\n',
    "MaintainerDeprecated": "FROM alpine\nLABEL org.opencontainers.image.authors=me\n",
    "UndefinedArgInFrom": "ARG VERSION=1\nFROM alpine:${VERSION}\n",
    "WorkdirRelativePath": "FROM alpine\nWORKDIR /app\nWORKDIR sub\n",
    "UndefinedVar": "FROM alpine\nARG SOURCE=a\nCOPY $SOURCE ${OTHER:-x} /\n",
    "MultipleInstructionsDisallowed": 'FROM alpine AS one\nCMD ["a"]\nFROM one\nCMD ["b"]\n',
    "LegacyKeyValueFormat": "FROM alpine\nENV a=b c=d\n",
    "RedundantTargetPlatform": "FROM --platform=$BUILDPLATFORM alpine\n",
    "SecretsUsedInArgOrEnv": "FROM alpine\nARG PUBLIC_KEY DB_PASSWORD_FILE TOKEN_VERSION MONKEY\n",
    "InvalidDefaultArgInFrom": "ARG TAG=1\nFROM alpine:${TAG}\n",
    "FromPlatformFlagConstDisallowed": "FROM --platform=linux/amd64 nobody AS base-amd64\n",
    "ExposeProtoCasing": "FROM alpine\nEXPOSE 80/tcp\n",
    "ExposeInvalidFormat": "FROM alpine\nEXPOSE 80 8000-8010/udp\n",
    "InvalidBaseImagePlatform": "FROM alpine\n",
    "CopyIgnoredFile": "FROM alpine\nCOPY b.c ./ /\nCOPY --from=elsewhere a.o /\n",
    "InvalidDefinitionDescription": "# check=experimental=all\n# build makes it\nFROM alpine AS build\n"
    "# A is one\nARG A B\n# names nothing\nRUN x\n",
}


@pytest.mark.parametrize(("text", "rule", "line", "words"), CASES, ids=[case[1] for case in CASES])
def test_a_rule_finds_its_line_and_says_it_in_buildkits_words(
    text: str, rule: str, line: int, words: str
) -> None:
    (only,) = checked(text).findings
    assert (only.rule, only.line, only.text) == (rule, line, words)


@pytest.mark.parametrize(("rule", "text"), WELL_WRITTEN.items(), ids=list(WELL_WRITTEN))
def test_a_rule_leaves_alone_what_is_well_written(rule: str, text: str) -> None:
    assert [each for each in checked(text, "**/*.o").findings if each.rule == rule] == []
    assert checked(text, "**/*.o").findings == []


def test_every_rule_has_both_cases() -> None:
    assert {case[1] for case in CASES} | {"CopyIgnoredFile"} == set(RULES) == set(WELL_WRITTEN)


def test_every_rule_of_buildkit_is_here() -> None:
    """frontend/dockerfile/linter/ruleset.go of August 2026; each name has a case of its own above."""
    assert len(RULES) == 22


def test_what_is_experimental_is_found_when_it_is_asked_for() -> None:
    text = "# the stage\nFROM alpine AS build\n# one and two\nARG A B\n"
    assert found(text) == []
    assert found(f"# check=experimental=all\n{text}") == [(EXPERIMENTAL[0], 3), (EXPERIMENTAL[0], 5)]


def test_a_comment_above_an_instruction_leaves_rules_out_for_it_alone() -> None:
    text = "FROM alpine\n# see above\n# check=skip=JSONArgsRecommended\nCMD x\nENTRYPOINT y\n"
    text += "# check=loud\nUSER $X\n"
    assert found(text) == [("JSONArgsRecommended", 5), ("UndefinedVar", 7)]


def test_a_platform_is_compared_with_the_one_that_is_built_for() -> None:
    assert checked("FROM elsewhere\n", platform="linux/s390x").findings == []
    assert checked("FROM --platform=$BUILDPLATFORM alpine\n", platform="linux/s390x").findings == []
    (only,) = checked("FROM --platform=$TARGETARCH$X alpine AS a\n", platform="linux/s390x").findings[:1]
    assert only.rule == "UndefinedArgInFrom"


def test_a_shell_of_the_base_image_says_that_a_shell_is_meant() -> None:
    assert found("FROM bash\nCMD x\n") == []


def test_a_copy_of_what_is_ignored_is_found() -> None:
    text = "FROM alpine\nCOPY a.o b.c /\nADD src/a.o /\nCOPY . /\n"
    assert found(text, "**/*.o") == [("CopyIgnoredFile", 2), ("CopyIgnoredFile", 3)]
    assert found("FROM alpine\nCOPY docs /\n", "docs", "!docs/keep") == []


@pytest.mark.parametrize(
    "text",
    [
        "FROM alpine\nENV A=1 B=${C:-2} D=${FROM_BASE}\nUSER $A\n",
        "FROM nobody/knows\nUSER $THEIRS\n",
        "FROM alpine AS a\nARG X\nFROM a\nUSER $X\n",
        "FROM alpine\nRUN echo $SHELL_ONLY\nENV A='$literal' B=\\$escaped\n",
        "FROM --platform=$BUILDPLATFORM alpine\nARG PUBLIC_KEY MONKEY\nENV AUTHOR=me\n",
        'FROM alpine\nWORKDIR /a\nWORKDIR b\nHEALTHCHECK CMD ["true"]\nEXPOSE 80/tcp $PATH\n',
        "from alpine as b\nrun true\n",
    ],
)
def test_what_is_well_written_is_left_alone(text: str) -> None:
    assert found(text) == []


def test_the_directive_leaves_rules_out() -> None:
    text = "FROM alpine as Big\nCMD x\n"
    assert len(found(text)) == 3
    assert found("# check=skip=FromAsCasing,StageNameCasing\n" + text) == [("JSONArgsRecommended", 3)]
    assert found("# check=skip=all\n" + text) == []


def test_the_directive_makes_findings_an_error_that_shows_the_line() -> None:
    strict = checked("# check=error=true\nFROM alpine\nCMD x\n")
    with pytest.raises(DockerfileError, match=r"on line 3: lint violation .*JSONArgs.*\n +3 \| CMD x"):
        strict.refuse()
    checked("FROM alpine\nCMD x\n").refuse()


def test_a_directive_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(DockerfileError, match=r"invalid check option"):
        checked("# check=loud\nFROM alpine\n")


def test_a_rule_of_another_version_can_be_left_out_too() -> None:
    assert found("# check=skip=NotYetThere,JSONArgsRecommended\nFROM alpine\nCMD x\n") == []


def test_a_rule_has_its_page() -> None:
    (only,) = checked("FROM alpine\nCMD x\n").findings
    assert only.url == "https://docs.docker.com/go/dockerfile/rule/json-args-recommended/"
