"""`network create`'s small language, and the order of listings."""

import pytest

from wherry.cli.output.natural import natural
from wherry.cli.output.networks import rows
from wherry.cli.output.volumes import rows as volume_rows
from wherry.engine.parse import ipam
from wherry.errors import UsageProblem


def blocks(
    *subnets: str,
    ranges: tuple[str, ...] = (),
    gateways: tuple[str, ...] = (),
    auxiliary: dict[str, str] | None = None,
) -> list[dict[str, object]]:
    return ipam.blocks(subnets=subnets, ranges=ranges, gateways=gateways, auxiliary=auxiliary or {})


def test_everything_goes_to_the_subnet_it_lies_in() -> None:
    found = blocks(
        "10.5.0.0/16",
        "fd00::/64",
        ranges=("10.5.8.0/24",),
        gateways=("fd00::1", "10.5.0.9"),
        auxiliary={"router": "10.5.0.7"},
    )
    assert found == [
        {
            "Subnet": "10.5.0.0/16",
            "IPRange": "10.5.8.0/24",
            "Gateway": "10.5.0.9",
            "AuxiliaryAddresses": {"router": "10.5.0.7"},
        },
        {"Subnet": "fd00::/64", "Gateway": "fd00::1"},
    ]
    assert blocks() == []


@pytest.mark.parametrize(
    ("subnets", "more", "words"),
    [
        ((), {"gateways": ("10.5.0.1",)}, "every ip-range or gateway must have a corresponding subnet"),
        (("10.5.0.0/16",), {"gateways": ("10.6.0.1",)}, "no matching subnet for gateway 10.6.0.1"),
        (("10.5.0.0/16",), {"ranges": ("10.6.0.0/24",)}, "no matching subnet for range 10.6.0.0/24"),
        (("10.5.0.0/16",), {"auxiliary": {"a": "10.6.0.1"}}, "no matching subnet for aux-address 10.6.0.1"),
        (("10.5.0.0/16", "10.5.1.0/24"), {}, "multiple overlapping subnet configuration is not supported"),
        (
            ("10.5.0.0/16", "10.6.0.0/16"),
            {"gateways": ("10.5.0.1", "10.5.0.2")},
            "cannot configure multiple gateways",
        ),
        (("somewhere",), {}, "invalid subnet somewhere"),
    ],
)
def test_what_cannot_be_is_told_in_dockers_words(
    subnets: tuple[str, ...], more: dict[str, tuple[str, ...]], words: str
) -> None:
    with pytest.raises(UsageProblem, match=words):
        blocks(*subnets, **more)  # type: ignore[arg-type]


def test_numbers_in_names_count_by_their_value() -> None:
    assert sorted(["web10", "web2", "db", "web"], key=natural) == ["db", "web", "web2", "web10"]
    listed = [{"Name": name, "Id": "f" * 64} for name in ("n10", "n9")]
    assert [row["Name"] for row in rows(listed, truncate=True)] == ["n9", "n10"]
    assert [row["Name"] for row in volume_rows(listed)] == ["n9", "n10"]


def test_ids_are_cut_unless_told_otherwise() -> None:
    listed = [{"Name": "net", "Id": "f" * 64}]
    assert [row["ID"] for row in rows(listed, truncate=True)] == ["f" * 12]
    assert [row["ID"] for row in rows(listed, truncate=False)] == ["f" * 64]
