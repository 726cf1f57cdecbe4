"""Answers of the engine against the reference's own description of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import swagger
from native_engine import IMAGE, NativeEngine
from registry_rig import real_registry

pytestmark = pytest.mark.root

#: Described loosely or late: printed by the reference daemon as well.
KNOWN: Mapping[str, set[str]] = {
    "/version": {"$.Components[0].Details.PythonVersion: not described"},
}


@pytest.fixture(scope="module")
def described() -> swagger.Description:
    return swagger.description()


def check(
    described: swagger.Description,
    engine: NativeEngine,
    method: str,
    template: str,
    status: int = 200,
    body: Any = None,
    query: Mapping[str, Any] | None = None,
    **names: str,
) -> Any:
    path = template.format(**names)
    answer = engine.call(method, path, body, **(query or {}))
    assert answer.status == status, answer.text
    findings = set(described.findings(answer.json, template, method, status)) - KNOWN.get(template, set())
    assert not findings, "\n".join(sorted(findings))
    return answer.json


@pytest.mark.parametrize(
    "template",
    ["/version", "/info", "/images/json", "/containers/json", "/volumes", "/networks", "/system/df"],
)
def test_lists_and_facts_fit_the_description(
    described: swagger.Description, engine: NativeEngine, template: str
) -> None:
    engine.run(
        "sleep", "60", HostConfig={"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1"}]}}, Volumes={"/v": {}}
    )
    check(described, engine, "GET", template)


def test_a_containers_answers_fit_the_description(
    described: swagger.Description, engine: NativeEngine
) -> None:
    body = {
        "Image": IMAGE,
        "Cmd": ["sleep", "60"],
        "Labels": {"a": "b"},
        "HostConfig": {"Binds": ["/tmp:/host"]},
    }
    created = check(described, engine, "POST", "/containers/create", 201, body)
    container = created["Id"]
    check(described, engine, "GET", "/containers/{id}/json", id=container)
    assert engine.call("POST", f"/containers/{container}/start").status == 204
    check(described, engine, "GET", "/containers/{id}/json", id=container, query={"size": "1"})
    check(described, engine, "GET", "/containers/json", query={"all": "1", "size": "1"})
    check(described, engine, "GET", "/containers/{id}/top", id=container)
    check(described, engine, "POST", "/containers/{id}/update", body={"Memory": 64 << 20}, id=container)
    made = check(described, engine, "POST", "/containers/{id}/exec", 201, {"Cmd": ["true"]}, id=container)
    check(described, engine, "GET", "/exec/{id}/json", id=made["Id"])
    assert engine.call("POST", f"/containers/{container}/stop", t="0").status == 204
    check(described, engine, "POST", "/containers/{id}/wait", id=container)
    check(described, engine, "POST", "/containers/prune")


def test_errors_fit_the_description(described: swagger.Description, engine: NativeEngine) -> None:
    check(described, engine, "GET", "/containers/{id}/json", 404, id="nobody")
    check(described, engine, "POST", "/containers/create", 404, {"Image": "no/such:image"})
    check(described, engine, "POST", "/containers/create", 400, {"Image": IMAGE, "Tty": 1})
    check(described, engine, "DELETE", "/containers/{id}", 409, id=engine.run("sleep", "60"))


def test_images_and_volumes_fit_the_description(described: swagger.Description, engine: NativeEngine) -> None:
    check(described, engine, "GET", "/images/{name}/json", name=IMAGE)
    check(described, engine, "GET", "/images/{name}/history", name=IMAGE)
    check(described, engine, "POST", "/volumes/create", 201, {"Name": "described", "Labels": {"a": "b"}})
    check(described, engine, "GET", "/volumes/{name}", name="described")
    assert engine.call("DELETE", "/volumes/described").status == 204


def test_what_registries_are_asked_fits_the_description(
    described: swagger.Description, engine: NativeEngine, tmp_path: Path
) -> None:
    with real_registry(tmp_path / "registry") as registry:
        name = f"{registry.host}/box"
        assert engine.call("POST", f"/images/{IMAGE}/tag", repo=name, tag="1").status == 201
        assert b'"aux"' in engine.call("POST", f"/images/{name}/push", tag="1").body
        check(described, engine, "GET", "/distribution/{name}/json", name=f"{name}:1")
        body = {"username": "me", "password": "x", "serveraddress": registry.host}
        check(described, engine, "POST", "/auth", body=body)
        image = check(described, engine, "GET", "/images/{name}/json", name=f"{name}:1")
        assert image["RepoDigests"]
