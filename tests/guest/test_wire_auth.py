"""Wire details, 9: who the client is to a registry: headers in every spelling, and where they never go."""

import base64
import json
from typing import Any

import pytest
import registry_fixtures
from builder_rig import build, context
from native_engine import IMAGE, Answer, NativeEngine
from registry_rig import PASSWORD, USER, RealRegistry

from wherryd.registry import credentials

pytestmark = pytest.mark.root

HUB = "https://index.docker.io/v1/"


locked = registry_fixtures.locked
open_registry = registry_fixtures.registry


def packed(document: Any, *, plain: bool = False, strip: bool = False) -> str:
    data = json.dumps(document, ensure_ascii=False).encode()
    text = (base64.b64encode if plain else base64.urlsafe_b64encode)(data).decode()
    return text.rstrip("=") if strip else text


def push(engine: NativeEngine, registry: RealRegistry, header: str) -> Answer:
    name = f"{registry.host}/box"
    assert engine.call("POST", f"/images/{IMAGE}/tag", repo=name, tag="1").status == 201
    return engine.call("POST", f"/images/{name}/push", headers={"X-Registry-Auth": header}, tag="1")


def me(registry: RealRegistry, **more: str) -> dict[str, str]:
    return {"username": USER, "password": PASSWORD, "serveraddress": registry.host, **more}


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("strip", [False, True])
def test_x_registry_auth_opens_a_registry_in_every_base64(
    engine: NativeEngine, locked: RealRegistry, plain: bool, strip: bool
) -> None:
    # With bytes that the two alphabets write differently, and of a length that wants padding.
    document = me(locked, email="ÿ?>~" + "x" * (2 if strip else 3))
    answer = push(engine, locked, packed(document, plain=plain, strip=strip))
    assert b'"aux"' in answer.body, answer.text


@pytest.mark.parametrize("header", ["", "e30=", "bnVsbA==", "%%%", "{}", "W10=", "x" * 70_000])
def test_an_auth_that_is_empty_or_broken_is_nobodys_and_no_error(
    engine: NativeEngine, open_registry: RealRegistry, locked: RealRegistry, header: str
) -> None:
    assert b'"aux"' in push(engine, open_registry, header).body
    refused = push(engine, locked, header)
    assert "no basic auth credentials" in refused.text or "authentication required" in refused.text


def test_credentials_are_a_password_or_either_kind_of_token() -> None:
    """What becomes of the tokens at a registry is shown by the two tests of the registry's own client."""
    for document, field in (
        ({"username": "me", "password": "p"}, "password"),
        ({"identitytoken": "p"}, "identity_token"),
        ({"registrytoken": "p"}, "registry_token"),
    ):
        found = credentials.from_header(packed({**document, "serveraddress": "reg.example"}))
        assert getattr(found, field) == "p"
        assert (found.server, found.anonymous) == ("reg.example", False)


def test_a_build_takes_a_map_of_logins_with_the_hubs_own_key(
    engine: NativeEngine, locked: RealRegistry
) -> None:
    found = credentials.from_config_header(packed({HUB: {"username": "me", "password": "p"}}))
    assert found["docker.io"].username == "me"
    assert b'"aux"' in push(engine, locked, packed(me(locked))).body
    file = context({"Dockerfile": f"FROM {locked.host}/box:1\nLABEL a=b\n"})
    query = {"pull": "1"}
    logins = {HUB: {"username": "other", "password": "x"}, locked.host: me(locked)}
    headers = {"Content-Type": "application/x-tar", "X-Registry-Config": packed(logins)}
    answer = engine.call("POST", "/build", file, headers=headers, **query)
    assert b'"aux"' in answer.body, answer.text
    without = build(engine, file, **query)
    assert without.status != 200 or without.error


def test_neither_password_nor_header_is_logged(engine: NativeEngine, locked: RealRegistry) -> None:
    right, wrong = me(locked), me(locked, password="never-to-be-seen")
    headers = [packed(right), packed(wrong)]
    assert b'"aux"' in push(engine, locked, headers[0]).body
    push(engine, locked, headers[1])
    config = packed({locked.host: right})
    build(engine, context({"Dockerfile": f"FROM {locked.host}/box:1\n"}), pull="1")
    engine.call(
        "POST",
        "/build",
        context({"Dockerfile": f"FROM {locked.host}/box:1\n"}),
        headers={"Content-Type": "application/x-tar", "X-Registry-Config": config},
        pull="1",
    )
    engine.call("POST", "/auth", right)
    assert engine.call("POST", "/auth", wrong).status == 401
    basic = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    text = engine.log.read_text(errors="replace")
    assert "API listens" in text  # it is the engine's own, which says all that `--debug` has it say
    for secret in (PASSWORD, "never-to-be-seen", *headers, config, basic):
        assert secret not in text
