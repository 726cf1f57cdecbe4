"""--log-driver and --log-opt: defaults that rotate, limits, what is kept with each record."""

from typing import Any

import pytest

from wherryd.containers import logoptions, request
from wherryd.containers.logoptions import LogPlan
from wherryd.containers.record import ContainerRecord
from wherryd.errors import InvalidParameter

MIB = 1024 * 1024


def config(driver: str = "json-file", **options: str) -> dict[str, Any]:
    return {"Type": driver, "Config": {key.replace("_", "-"): value for key, value in options.items()}}


@pytest.mark.parametrize(
    ("wish", "plan"),
    [
        (config(), LogPlan(max_bytes=20 * MIB, max_files=5, compress=False)),
        (config("local"), LogPlan(max_bytes=20 * MIB, max_files=5, compress=True)),
        (config(max_size="10m"), LogPlan(max_bytes=10 * MIB, max_files=1, compress=False)),
        (config(max_size="1kb", max_file="3"), LogPlan(max_bytes=1024, max_files=3, compress=False)),
        (config(max_file="2", compress="true"), LogPlan(max_bytes=20 * MIB, max_files=2, compress=True)),
        (config(max_size="-1"), LogPlan(max_bytes=None, max_files=1, compress=False)),
        (config("local", compress="false"), LogPlan(max_bytes=20 * MIB, max_files=5, compress=False)),
        (config("local", max_size="-1"), LogPlan(max_bytes=None, max_files=1, compress=False)),
    ],
)
def test_limits_are_dockers_but_rotate_when_nothing_is_said(wish: dict[str, Any], plan: LogPlan) -> None:
    assert logoptions.problems(wish) == []
    assert logoptions.plan(wish) == plan


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (config("syslog"), "no log driver named 'syslog'"),
        (config("none", max_size="1m"), "unknown log opt 'max-size' for none log driver"),
        (config("local", labels="a"), "unknown log opt 'labels' for local log driver"),
        (config(colour="red"), "unknown log opt 'colour'"),
        (config(max_size="0"), "invalid value for max-size"),
        (config(max_size="ten"), "invalid value for max-size"),
        (config(max_file="0"), "invalid value for max-file"),
        (config(max_size="-1", max_file="3"), "cannot be specified without max-size"),
        (config(max_size="1m", compress="true"), "compress cannot be true"),
        (config(compress="perhaps"), "invalid value for compress"),
        (config(mode="fast"), "logging mode not supported: fast"),
        (config(labels_regex="("), "labels-regex"),
        (config(tag="{{.Colour}}"), "tag: takes fields"),
        (config(tag="{{if .ID}}x{{end}}"), "tag: takes fields"),
        ({"Type": "json-file", "Config": {"max-size": 3}}, "map of strings"),
    ],
)
def test_what_is_wrong_is_said(wish: dict[str, Any], words: str) -> None:
    assert any(words in problem for problem in logoptions.problems(wish))


def test_a_mode_is_taken_with_a_warning() -> None:
    wish = config(mode="non-blocking", max_buffer_size="4m")
    assert logoptions.problems(wish) == []
    assert "change nothing" in logoptions.warnings(wish)[0]
    assert logoptions.warnings(config()) == []


def test_the_engines_options_count_for_its_own_driver_only() -> None:
    default = config(max_size="1m", max_file="2")
    assert logoptions.with_default(None, default) == default
    assert logoptions.with_default(config(max_size="9m"), default) == config(max_size="9m", max_file="2")
    assert logoptions.with_default(config("local"), default) == config("local")
    assert logoptions.with_default({"Type": "", "Config": None}, default) == default


def test_labels_variables_and_the_tag_are_kept() -> None:
    wish = request.parse(
        {
            "Image": "img:1",
            "Cmd": ["x"],
            "Labels": {"a": "1", "b": "2", "com.x": "3"},
            "Env": ["E=4", "F=5", "GX=6"],
            "HostConfig": {
                "LogConfig": config(
                    labels="a, none", labels_regex="^com", env="E", env_regex="X$", tag="{{.Name}}/{{ .ID }}"
                )
            },
        }
    )
    record = ContainerRecord(
        id="ab" * 32, name="box", created="", image="img:1", image_id="sha256:12", path="x", args=(),
        config=wish.config, host_config=wish.host_config,
    )  # fmt: skip
    assert logoptions.attributes(record) == {
        "a": "1", "com.x": "3", "E": "4", "GX": "6", "tag": "box/abababababab",
    }  # fmt: skip


def test_the_request_refuses_what_the_driver_does_not_know() -> None:
    with pytest.raises(InvalidParameter, match="no log driver named 'journald'"):
        request.parse({"Image": "x", "Cmd": ["x"], "HostConfig": {"LogConfig": {"Type": "journald"}}})
