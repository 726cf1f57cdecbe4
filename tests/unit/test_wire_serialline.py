import pytest

from wherrywire.serialline import Booted, Ready, SerialEvent, encode, parse

READY = Ready(version="0.1.0", host_key="SHA256:" + "a" * 43)


@pytest.mark.parametrize("event", [Booted(), READY])
def test_what_the_guest_writes_the_client_reads(event: SerialEvent) -> None:
    assert parse(encode(event) + "\r\n") == event


def test_a_kernel_message_before_our_text_does_not_hide_it() -> None:
    assert parse("[    2.1] random: crng init done\x1b[0m" + encode(READY)) == READY


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Linux version 6.12",
        "wherry: ready",
        "wherry: ready {",
        'wherry: ready {"version": "1"}',
        "wherry: ready 7",
    ],
)
def test_other_and_broken_lines_say_nothing(line: str) -> None:
    assert parse(line) is None
