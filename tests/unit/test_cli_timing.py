"""What --since and --until make of a time."""

import pytest

from wherry.cli.timing import moment
from wherry.errors import UsageProblem


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1357133017", "1357133017"),
        ("1357133017.123456789", "1357133017.123456789"),
        ("2013-01-02T13:23:37Z", "1357133017.000000000"),
        ("2013-01-02T13:23:37.123456789Z", "1357133017.123456789"),
        ("2013-01-02T13:23:37.5+01:00", "1357129417.500000000"),
        ("42m", "7480"),
        ("-1h30m", "15400"),
        ("1.5s", "9998"),
    ],
)
def test_times_keep_their_nanoseconds_and_ages_are_whole_seconds_as_dockers(text: str, seconds: str) -> None:
    assert moment(text, "--since", now=10_000) == seconds


@pytest.mark.parametrize("text", ["yesterday", "2013-13-01", "", "12:00:61.5", "1.2.3"])
def test_what_is_no_time_is_told(text: str) -> None:
    with pytest.raises(UsageProblem, match='invalid value for "until": failed to parse value'):
        moment(text, "--until")
