"""Query strings, bodies, versions and statuses, as the Engine API means them."""

import json

import pytest

from wherryd import errors
from wherryd.api import params, version
from wherryd.api.eventfilter import matches
from wherryd.api.status import STATUS, status_for
from wherryd.containers.events import EngineEvent


@pytest.mark.parametrize("value", ["", "0", "no", "False", "none", " 0 "])
def test_these_words_are_false(value: str) -> None:
    assert params.boolean({"x": value}, "x", True) is False


@pytest.mark.parametrize("value", ["1", "true", "yes", "anything", "00"])
def test_every_other_word_is_true(value: str) -> None:
    assert params.boolean({"x": value}, "x") is True


def test_an_absent_boolean_is_its_default() -> None:
    assert params.boolean({}, "x", True) is True


@pytest.mark.parametrize("value", ["1.5", "x", "0x10", "١", "1" * 30, "--1"])
def test_a_number_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(errors.InvalidParameter, match="t: "):
        params.integer({"t": value}, "t")


def test_numbers_may_be_negative_or_absent() -> None:
    assert params.integer({"t": "-1"}, "t") == -1
    assert params.integer({"t": ""}, "t", 7) == 7


def test_filters_come_in_two_shapes() -> None:
    new = {"filters": json.dumps({"status": {"running": True, "paused": False}})}
    old = {"filters": json.dumps({"status": ["running"]})}
    assert params.filters(new) == params.filters(old) == {"status": ["running"]}


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}', '{"a": [1]}', "x" * 70000])
def test_bad_filters_are_refused(text: str) -> None:
    with pytest.raises(errors.InvalidParameter):
        params.filters({"filters": text})


def test_an_unknown_filter_is_refused_by_name() -> None:
    with pytest.raises(errors.InvalidParameter, match="invalid filter 'colour'"):
        params.filters({"filters": '{"colour": ["red"]}'}, ("name",))


@pytest.mark.parametrize("body", [b"{", b'{"a": 1} x', b"[]", b"1", b"[" * 100000])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(errors.InvalidParameter):
        params.parse_object(body, "application/json")


def test_a_body_needs_its_content_type_and_no_body_needs_none() -> None:
    assert params.parse_object(b"", "application/octet-stream") == {}
    assert params.parse_object(b"null", "application/json") == {}
    with pytest.raises(errors.InvalidParameter, match="must be 'application/json'"):
        params.parse_object(b"{}", "text/plain")


def test_versions_between_the_limits_are_spoken() -> None:
    assert version.parse(None) == version.parse("1.51") == (1, 51)
    assert version.parse("1.24") == (1, 24)
    assert version.parse("1.51.0") == version.parse("1.51.") == (1, 51)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1.52", "too new"),
        ("1.51.1", "too new"),
        ("1.23", "too old"),
        ("1.2.3", "too old"),
        ("1", "too old"),
        (".", "too old"),
        ("9" * 33, "longer than"),
    ],
)
def test_other_versions_are_refused(text: str, words: str) -> None:
    with pytest.raises(errors.InvalidParameter, match=words):
        version.parse(text)


def _tree(root: type[errors.EngineError]) -> list[type[errors.EngineError]]:
    return [root, *(below for child in root.__subclasses__() for below in _tree(child))]


def test_every_error_has_a_status_of_its_own_or_of_its_parent() -> None:
    for error in _tree(errors.EngineError):
        if error is not errors.EngineError:
            assert any(ancestor in STATUS for ancestor in error.__mro__), error


def test_a_missing_program_is_the_requests_fault() -> None:
    assert status_for(errors.RuntimeFault("no such program", 127)) == 400
    assert status_for(errors.RuntimeFault("broken", 125)) == 500


EVENT = EngineEvent(
    type="container",
    action="exec_start: ls",
    actor_id="abc123",
    attributes={"name": "web", "image": "shop:1", "team": "a"},
    time_ns=1,
)


@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"type": ["container"]},
        {"event": ["exec_start"]},
        {"container": ["web"]},
        {"container": ["abc"]},
        {"image": ["shop:1"]},
        {"image": ["shop"]},
        {"label": ["team", "team=a"]},
        {"type": ["image", "container"], "label": ["team=a"]},
    ],
)
def test_an_event_is_wanted(filters: dict[str, list[str]]) -> None:
    assert matches(EVENT, filters)


@pytest.mark.parametrize(
    "filters",
    [
        {"type": ["image"]},
        {"event": ["start"]},
        {"event": ["exec"]},
        {"container": ["eb"]},
        {"label": ["team=b"]},
        {"label": ["team", "other"]},
        {"network": ["web"]},
        {"type": ["container"], "image": ["other"]},
    ],
)
def test_an_event_is_not_wanted(filters: dict[str, list[str]]) -> None:
    assert not matches(EVENT, filters)
