"""What is wrong with a Dockerfile is told with its line, the line itself and what would have been right."""

from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from dockerfile_errors import READING, Row
from serving import serving

from wherryd.builder import download
from wherryd.builder.dockerfile.errors import DockerfileError
from wherryd.builder.dockerfile.stages import read_trigger
from wherryd.builder.lint.check import check
from wherryd.errors import InvalidParameter


@pytest.mark.parametrize("row", READING, ids=[row.name for row in READING])
def test_an_error_points_at_its_line_shows_it_and_says_what_was_expected(row: Row) -> None:
    with pytest.raises(DockerfileError) as caught:
        check(row.text.encode(), lambda _name: None)
    said = str(caught.value)
    assert row.problem in said
    assert " (hint: " in said
    if row.line:
        assert said.startswith(f"dockerfile parse error on line {row.line}: ")
        assert row.shown in said


def test_a_long_instruction_is_shown_in_part() -> None:
    lines = "\\\n".join(f"  --flag{number}=x" for number in range(40))
    with pytest.raises(DockerfileError) as caught:
        check(f"FROM a\nCOPY {lines} a b\n".encode(), lambda _name: None)
    shown = str(caught.value).splitlines()[1:]
    assert shown[0].startswith("     2 | COPY ")
    assert len(shown) == 13
    assert shown[-1] == "       | ..."


def test_a_trigger_that_is_no_instruction_is_told_with_its_image() -> None:
    with pytest.raises(DockerfileError, match="a trigger of image x is not one instruction"):
        read_trigger("RUN a\nRUN b", "x")


async def test_a_download_without_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802 - the library's name
            self.send_response(200)
            self.end_headers()
            self.wfile.write(bytes(5000))

        def log_message(self, *_: object) -> None:
            """Not into the tests' output."""

    monkeypatch.setattr(download, "_MAX_BYTES", 4000)
    with serving(Handler) as address, pytest.raises(InvalidParameter, match="has more than 4000 bytes"):
        await download.download(f"{address}/f", tmp_path, 0, "")
