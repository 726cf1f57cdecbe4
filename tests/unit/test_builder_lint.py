"""The rules of --check: what each finds, and what it leaves alone."""

import pytest

from wherryd.builder.dockerfile.errors import DockerfileError
from wherryd.builder.lint.check import Checked, check
from wherryd.builder.lint.findings import RULES
from wherrywire.dockerignore import Matcher

IMAGES = {"alpine": {"Env": ["PATH=/bin", "FROM_BASE=1"], "WorkingDir": ""}}


def checked(text: str, *ignored: str) -> Checked:
    return check(text.encode(), IMAGES.get, Matcher(ignored) if ignored else None)


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
        "Usage of undefined variable '$SORCE' (did you mean SOURCE?)",
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
        "FROM --platform=linux/amd64 alpine\n",
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
]


@pytest.mark.parametrize(("text", "rule", "line", "words"), CASES, ids=[case[1] for case in CASES])
def test_a_rule_finds_its_line_and_says_it_in_buildkits_words(
    text: str, rule: str, line: int, words: str
) -> None:
    (only,) = checked(text).findings
    assert (only.rule, only.line, only.text) == (rule, line, words)


def test_every_rule_has_a_case() -> None:
    assert {case[1] for case in CASES} | {"CopyIgnoredFile"} == set(RULES)


def test_a_copy_of_what_is_ignored_is_found() -> None:
    text = "FROM alpine\nCOPY a.o b.c /\nADD src/a.o /\nCOPY . /\n"
    assert found(text, "**/*.o") == [("CopyIgnoredFile", 2), ("CopyIgnoredFile", 3)]
    assert found("FROM alpine\nCOPY docs /\n", "docs", "!docs/keep") == []


@pytest.mark.parametrize(
    "text",
    [
        "FROM alpine\nENV A=1 B=${C:-2} D=${FROM_BASE}\nUSER $A\n",
        "FROM nobody/knows\nUSER $THEIRS\nWORKDIR app\n",
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
    with pytest.raises(DockerfileError, match=r"there is no rule Nope"):
        checked("# check=skip=Nope\nFROM alpine\n")
    with pytest.raises(DockerfileError, match=r"invalid check option"):
        checked("# check=loud\nFROM alpine\n")


def test_a_rule_has_its_page() -> None:
    (only,) = checked("FROM alpine\nCMD x\n").findings
    assert only.url == "https://docs.docker.com/go/dockerfile/rule/json-args-recommended/"
