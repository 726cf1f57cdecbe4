# ruff: noqa: S104 - addresses of published ports, as engines report them
"""Tables, sizes, ages and rows as Docker prints them."""

import pytest

from wherry.cli import references
from wherry.cli.output import containers, images, units
from wherry.cli.output.format import choose, render
from wherry.cli.output.table import align, ellipsis
from wherry.cli.output.values import Row, quote
from wherry.errors import UsageProblem


@pytest.mark.parametrize(
    ("count", "precision", "shown"),
    [
        (0, 3, "0B"), (999, 3, "999B"), (1000, 3, "1kB"), (1982256, 3, "1.98MB"),
        (1982256, 4, "1.982MB"), (7.5e9, 3, "7.5GB"),
    ],
)  # fmt: skip
def test_sizes_are_decimal(count: float, precision: int, shown: str) -> None:
    assert units.size(count, precision) == shown


def test_memory_is_binary() -> None:
    assert units.binary_size(25276000000) == "23.54GiB"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.4, "Less than a second"), (1, "1 second"), (59.9, "59 seconds"), (60, "About a minute"),
        (119, "About a minute"), (120, "2 minutes"), (3599, "59 minutes"), (3600, "About an hour"),
        (5399, "About an hour"), (5400, "2 hours"), (47 * 3600, "47 hours"), (48 * 3600, "2 days"),
        (14 * 86400, "2 weeks"), (60 * 86400, "2 months"), (730 * 86400, "2 years"),
    ],
)  # fmt: skip
def test_ages_read_like_dockers(seconds: float, shown: str) -> None:
    assert units.duration(seconds) == shown


def test_build_times_are_shown_without_fraction() -> None:
    assert units.ctime("2025-05-03T12:07:14.000000000+00:00") == "Sat May  3 12:07:14 2025"
    assert units.ctime("unknown") == "unknown"


def test_columns_are_ten_wide_at_least_and_three_apart() -> None:
    assert (
        align("A\tB\tC\nlonger than ten\tx\ty\n")
        == "A                 B         C\nlonger than ten   x         y\n"
    )


def test_a_line_without_the_cell_ends_its_column() -> None:
    assert align("Head\n a:\t1\n bbbb:\t2\n", min_width=0, padding=1) == "Head\n a:    1\n bbbb: 2\n"


def test_ellipsis_counts_wide_characters_twice() -> None:
    assert ellipsis("sh -c 'echo a; echo b'", 20) == "sh -c 'echo a; echo…"
    assert ellipsis("漢字漢字", 8) == "漢字漢字"
    assert ellipsis("漢字漢字", 7) == "漢字漢…"


def test_commands_are_quoted_like_go_quotes() -> None:
    assert quote('a "b"\n\x01é\u200b') == '"a \\"b\\"\\n\\x01é\\u200b"'


@pytest.mark.parametrize(
    ("ports", "shown"),
    [
        ([], ""),
        ([{"PrivatePort": 80, "Type": "tcp"}], "80/tcp"),
        ([{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}], "0.0.0.0:8080->80/tcp"),
        ([{"IP": "::", "PrivatePort": 80, "PublicPort": 80, "Type": "tcp"}], "[::]:80->80/tcp"),
        (
            [
                {"IP": "0.0.0.0", "PrivatePort": port, "PublicPort": port, "Type": "tcp"}
                for port in (82, 80, 81)
            ]
            + [{"PrivatePort": 9, "Type": "udp"}],
            "9/udp, 0.0.0.0:80-82->80-82/tcp",
        ),
        ([{"PrivatePort": port, "Type": "tcp"} for port in (1, 2, 5)], "1-2/tcp, 5/tcp"),
    ],
)
def test_ports_are_grouped(ports: list[dict[str, object]], shown: str) -> None:
    assert containers.ports(ports) == shown


CONTAINER = {
    "Id": "a" * 64, "Names": ["/other/link", "/db"], "Image": "docker.io/library/mysql:demo",
    "ImageID": "sha256:1",
    "Command": "sleep 300", "Created": 0, "State": "running", "Status": "Up 3 seconds", "Ports": [],
    "Labels": {"b": "2", "a": "1"}, "Mounts": [{"Name": "a-very-long-volume", "Driver": "local"}],
    "NetworkSettings": {"Networks": {"bridge": {}}}, "SizeRw": 5, "SizeRootFs": 1982256,
}  # fmt: skip


def test_row_is_short_unless_no_trunc() -> None:
    short, whole = containers.row(CONTAINER, truncate=True), containers.row(CONTAINER, truncate=False)
    assert (short["ID"], whole["ID"]) == ("a" * 12, "a" * 64)
    assert (short["Names"], whole["Names"]) == ("db", "other/link,db")
    assert (short["Mounts"], whole["Mounts"]) == ("a-very-long-vo…", "a-very-long-volume")
    assert short["Image"] == "mysql:demo"
    assert short["Labels"] == "a=1,b=2"
    assert short["Size"] == "5B (virtual 1.98MB)"
    assert short["LocalVolumes"] == "1"


def test_image_that_was_untagged_shows_as_its_id() -> None:
    item = CONTAINER | {"Image": "sha256:" + "b" * 64, "ImageID": "sha256:" + "b" * 64}
    assert containers.row(item, truncate=True)["Image"] == "b" * 12


def test_images_have_a_line_per_tag_and_for_dangling_ones() -> None:
    item = {
        "Id": "sha256:" + "c" * 64,
        "Created": 1,
        "Size": 1000,
        "RepoTags": ["a:1", "h:5/x:2"],
        "RepoDigests": [],
    }
    names = [(row["Repository"], row["Tag"]) for row in images.rows([item], truncate=True, digests=False)]
    assert names == [("a", "1"), ("h:5/x", "2")]
    bare = item | {"RepoTags": [], "RepoDigests": []}
    assert [row["Tag"] for row in images.rows([bare], truncate=True, digests=False)] == ["<none>"]


def test_digests_get_lines_when_asked_for() -> None:
    item = {
        "Id": "sha256:c",
        "Created": 1,
        "Size": 1,
        "RepoTags": ["a:1"],
        "RepoDigests": ["a@sha256:d", "b@sha256:e"],
    }
    rows = list(images.rows([item], truncate=True, digests=True))
    assert [(row["Repository"], row["Tag"], row["Digest"]) for row in rows] == [
        ("a", "1", "sha256:d"),
        ("b", "<none>", "sha256:e"),
    ]


HEADERS = {"ID": "CONTAINER ID", "Names": "NAMES"}
ROWS = [Row({"ID": "1", "Names": "db"}, {"Label": lambda name: f"<{name}>"})]


@pytest.mark.parametrize(
    ("option", "quiet", "expected"),
    [
        (None, False, "CONTAINER ID   NAMES\n1              db\n"),
        ("table", False, "CONTAINER ID   NAMES\n1              db\n"),
        (None, True, "1\n"),
        ("{{.Names}}", True, "db\n"),
        ("{{.Names}}\\t{{.ID}}", False, "db\t1\n"),
        ("table {{.Names}}\\t{{upper .ID}}", False, "NAMES     CONTAINER ID\ndb        1\n"),
        ('table {{.Label "com.x.my-label"}}', False, "my label\n<com.x.my-label>\n"),
        ("json", False, '{"ID":"1","Names":"db"}\n'),
    ],
)
def test_format_option(option: str | None, quiet: bool, expected: str) -> None:
    chosen = choose(option, columns=("ID", "Names"), quiet=quiet)
    assert render(chosen, ROWS, HEADERS) == expected


def test_quiet_counts_more_than_a_template_where_it_is_asked_to() -> None:
    chosen = choose("{{.Names}}", columns=("ID", "Names"), quiet=True, only_quiet=True)
    assert render(chosen, ROWS, HEADERS) == "1\n"
    raw = choose("raw", columns=("ID",), quiet=True, raw="names: {{.Names}}\nid: {{.ID}}\n")
    assert render(raw, ROWS, HEADERS) == "id: 1\n"


def test_bad_format_is_a_usage_problem() -> None:
    with pytest.raises(UsageProblem, match="template parsing error"):
        choose("{{", columns=("ID",), quiet=False)
    with pytest.raises(UsageProblem, match="can't evaluate field Foo"):
        render(choose("{{.Foo}}", columns=("ID",), quiet=False), ROWS, HEADERS)


def test_costly_size_is_asked_for_only_when_shown() -> None:
    assert choose("{{.Size}}", columns=("ID",), quiet=False).uses("Size")
    assert choose("{{json .}}", columns=("ID",), quiet=False).uses("Size")
    assert not choose("json", columns=("ID",), quiet=False).uses("Size")
    assert not choose("{{json .Names}}", columns=("ID",), quiet=False).uses("Size")


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("mysql", ("mysql", "latest")), ("mysql:demo", ("mysql", "demo")),
        ("h:5000/a", ("h:5000/a", "latest")),
        ("h:5000/a/b:1", ("h:5000/a/b", "1")), ("a@sha256:x", ("a", "sha256:x")),
        ("a:1@sha256:x", ("a", "sha256:x")),
    ],
)  # fmt: skip
def test_references_split_into_name_and_tag(reference: str, parts: tuple[str, str]) -> None:
    assert references.split(reference) == parts


def test_reference_is_shown_with_its_tag() -> None:
    assert references.with_tag("docker.io/library/mysql") == "mysql:latest"
    assert references.with_tag("a@sha256:x") == "a@sha256:x"
    assert references.is_id("sha256:" + "0" * 64)
    assert not references.is_id("mysql")


def test_times_are_printed_as_go_prints_them() -> None:
    assert units.go_time("2025-05-30T12:07:14.500000000Z") == "2025-05-30 12:07:14.5 +0000 UTC"
    assert units.go_time("2025-05-30T12:07:14+02:00") == "2025-05-30 12:07:14 +0200 +0200"
    assert units.go_time("") == ""


def test_a_table_of_many_lines_takes_no_time_by_their_square() -> None:
    """Each cell is measured once: a count, not a clock."""
    from wherry.cli.output import table

    measured = 0

    def counting(text: str) -> int:
        nonlocal measured
        measured += 1
        return len(text)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table, "width", counting)
        table.align("a\tb\tc\n" * 1000)
    assert measured <= 5000
