"""The parser against BuildKit's own fixtures, tree for tree, and what they leave out."""

import os
from pathlib import Path

import pytest

from wherryd.builder.dockerfile.errors import DockerfileError
from wherryd.builder.dockerfile.parser import Node, parse

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("WHERRY_SHARED", ROOT.parent / "shared"))
FIXTURES = SHARED / "data" / "dockerfile" / "parser"
GOOD = sorted(path.name for path in (FIXTURES / "testfiles").glob("*"))
BAD = sorted(path.name for path in (FIXTURES / "testfiles-negative").glob("*"))

if not FIXTURES.is_dir():
    pytest.skip(f"no fixtures at {FIXTURES}; set WHERRY_SHARED", allow_module_level=True)

_ESCAPES = {
    "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v",
    "\\": "\\\\", '"': '\\"',
}  # fmt: skip


def quote(text: str) -> str:
    """As Go's strconv.Quote."""
    shown = (_ESCAPES.get(c) or (f"\\x{ord(c):02x}" if ord(c) < 32 or ord(c) == 127 else c) for c in text)
    return f'"{"".join(shown)}"'


def dump(node: Node) -> str:
    """The tree as BuildKit's dumper writes it."""
    parts = [node.keyword.lower()]
    if node.flags:
        parts.append("[" + " ".join(map(quote, node.flags)) + "]")
    if node.child is not None:
        parts.append(f"({dump(node.child)})")
    parts += map(quote, node.words)
    return " ".join(parts)


def read(folder: str, name: str) -> bytes:
    return (FIXTURES / folder / name / "Dockerfile").read_bytes()


@pytest.mark.parametrize("name", GOOD)
def test_the_tree_equals_buildkits(name: str) -> None:
    tree = "".join(f"({dump(node)})\n" for node in parse(read("testfiles", name)).nodes)
    expected = (FIXTURES / "testfiles" / name / "result").read_text()
    assert tree.strip() == expected.strip()


def test_the_fixtures_are_all_there() -> None:
    assert (len(GOOD), len(BAD)) == (33, 4)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused(name: str) -> None:
    with pytest.raises(DockerfileError):
        parse(read("testfiles-negative", name))


def test_nodes_know_their_lines() -> None:
    nodes = parse((FIXTURES / "testfile-line" / "Dockerfile").read_bytes()).nodes
    assert [(node.start, node.end) for node in nodes] == [(5, 5), (11, 12), (17, 31)]


def test_empty_continuation_lines_are_warned_of_and_comments_in_them_are_not() -> None:
    found = parse(b"FROM a\nRUN x \\\n\n  y\nRUN z \\\n  # fine\n  z\n").warnings
    assert [(warning.text, warning.line) for warning in found] == [
        ("Empty continuation line found in: RUN x   y", 4)
    ]


@pytest.mark.parametrize(
    ("line", "body", "name", "content", "expand", "chomp"),
    [
        ("RUN <<EMPTY", "EMPTY", "EMPTY", "", True, False),
        ("RUN <<INDENT", "\tfoo\n\tbar\nINDENT", "INDENT", "\tfoo\n\tbar\n", True, False),
        ("RUN <<-END", "\tfoo\n\tEND", "END", "\tfoo\n", True, True),
        ("RUN <<-'RAW'", "\t$X\nRAW", "RAW", "\t$X\n", False, True),
        ("RUN <<eo'f'", "echo\neof", "eof", "echo\n", False, False),
        ("RUN <<eo\\'f", "echo\neo'f", "eo'f", "echo\n", True, False),
        ("RUN <<'one two'", "echo\none two", "one two", "echo\n", False, False),
        ("RUN <<$EOF", "$EOF", "$EOF", "", True, False),
        ("RUN <<  EOF  > foo", "EOF", "EOF", "", True, False),
        ("RUN --mount=type=cache,target=/x <<M", "# not a comment\nM", "M", "# not a comment\n", True, False),
        ("ONBUILD RUN <<O", "x\nO", "O", "x\n", True, False),
    ],
)
def test_heredocs_are_read(line: str, body: str, name: str, content: str, expand: bool, chomp: bool) -> None:
    (heredoc,) = parse(f"{line}\n{body}\n".encode()).nodes[0].heredocs
    assert (heredoc.name, heredoc.content, heredoc.expand, heredoc.chomp) == (name, content, expand, chomp)


def test_several_heredocs_of_one_line_follow_each_other() -> None:
    nodes = parse(b"COPY <<X <<Y /dest\nY\nX\nX\nY\nUSER me\n").nodes
    assert [(doc.name, doc.content) for doc in nodes[0].heredocs] == [("X", "Y\n"), ("Y", "X\n")]
    assert nodes[1].words == ("me",)


@pytest.mark.parametrize("line", ['RUN "<<NO"', "USER <<NO", 'RUN ["<<NO"]', "RUN a <<"])
def test_what_only_looks_like_a_heredoc_is_none(line: str) -> None:
    assert not parse(f"FROM x\n{line}\n".encode()).nodes[1].heredocs


def test_an_unterminated_heredoc_is_told_with_its_lines() -> None:
    with pytest.raises(DockerfileError) as caught:
        parse(b"FROM x\nRUN <<EOF\necho\n")
    assert caught.value.line == 2
    assert "unterminated heredoc" in str(caught.value)
    assert "     2 | RUN <<EOF\n     3 | echo" in str(caught.value)


def test_carriage_returns_and_a_byte_order_mark_do_no_harm() -> None:
    nodes = parse(b"\xef\xbb\xbf# escape=`\r\nFROM x\r\nRUN a `\r\n b\r\n").nodes
    assert [node.words for node in nodes] == [("x",), ("a  b",)]


def test_a_directive_twice_or_an_unknown_escape_is_refused() -> None:
    with pytest.raises(DockerfileError, match="line 2: only one escape parser directive can be used"):
        parse(b"# escape=`\n# escape=`\nFROM x\n")
    with pytest.raises(DockerfileError, match="invalid ESCAPE"):
        parse(b"# escape=x\nFROM x\n")
