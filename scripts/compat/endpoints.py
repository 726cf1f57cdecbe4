"""One request per operation of the Engine API, in the order of being asked, and what is to be said of it.

A request is made for an engine that `Scene` has set up. That it is answered with success is what the page's
"works" stands for; remarks say what a user of dockerd would find otherwise.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from native_engine import IMAGE, busybox_tar

RUNNING, ENDED, SPARE = "running", "ended", "spare"
TAR: Mapping[str, str] = {"Content-Type": "application/x-tar"}
UPGRADE: Mapping[str, str] = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """names: for the parts of the path in braces; {exec}, {registry} and {tar} stand for what Scene made."""

    names: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    remark: str = ""


def _of(container: str, *, remark: str = "", body: Any = None, **query: str) -> Ask:
    return Ask(names={"id": container}, query=query, body=body, remark=remark)


_BUILDKIT = "the classic builder, with BuildKit's language; BuildKit's own protocol and outputs are not there"

#: What is not named here is asked without anything.
ASKS: Mapping[str, Ask] = {
    "POST /containers/create": Ask(
        query={"name": "made"}, body={"Image": IMAGE}, remark="fields that are refused are listed below"
    ),
    "GET /containers/{id}/json": _of(RUNNING),
    "GET /containers/{id}/top": _of(RUNNING),
    "GET /containers/{id}/logs": _of(ENDED, stdout="1", remark="of the drivers json-file and local"),
    "GET /containers/{id}/changes": _of(ENDED),
    "GET /containers/{id}/export": _of(ENDED),
    "GET /containers/{id}/stats": _of(RUNNING, stream="0", **{"one-shot": "1"}),
    "POST /containers/{id}/resize": _of(RUNNING, h="20", w="80"),
    "POST /containers/{id}/start": _of(SPARE),
    "POST /containers/{id}/stop": _of(SPARE, t="5"),
    "POST /containers/{id}/restart": _of(RUNNING, t="5"),
    "POST /containers/{id}/kill": _of(RUNNING, signal="CONT"),
    "POST /containers/{id}/update": _of(RUNNING, body={"PidsLimit": 100}),
    "POST /containers/{id}/rename": _of("made", name="renamed"),
    "POST /containers/{id}/pause": _of(RUNNING),
    "POST /containers/{id}/unpause": _of(RUNNING),
    "POST /containers/{id}/attach": _of(ENDED, logs="1", stdout="1"),
    "GET /containers/{id}/attach/ws": Ask(names={"id": RUNNING}, query={"stream": "1"}, headers=UPGRADE),
    "POST /containers/{id}/wait": _of(ENDED),
    "DELETE /containers/{id}": _of("renamed"),
    "HEAD /containers/{id}/archive": _of(ENDED, path="/etc/passwd"),
    "GET /containers/{id}/archive": _of(ENDED, path="/etc/passwd"),
    "PUT /containers/{id}/archive": Ask(
        names={"id": ENDED},
        query={"path": "/etc"},
        body=busybox_tar(),
        headers=TAR,
    ),
    "POST /containers/{id}/exec": _of(RUNNING, body={"Cmd": ["true"]}),
    "POST /exec/{id}/start": Ask(names={"id": "{exec}"}, body={"Detach": True}),
    "POST /exec/{id}/resize": Ask(names={"id": "{exec}"}, query={"h": "20", "w": "80"}),
    "GET /exec/{id}/json": Ask(names={"id": "{exec}"}),
    "POST /containers/prune": Ask(query={"filters": '{"label": ["none"]}'}),
    "POST /build": Ask(
        query={"t": "built"},
        body=busybox_tar([("Dockerfile", b"FROM busybox:test\n")]),
        headers=TAR,
        remark=_BUILDKIT,
    ),
    "POST /build/prune": Ask(query={"filters": '{"until": ["24h"]}'}),
    "POST /images/create": Ask(
        query={"fromSrc": "-", "repo": "imported"},
        body=busybox_tar(),
        headers=TAR,
    ),
    "GET /images/{name}/json": Ask(
        names={"name": IMAGE}, remark="of an index, Id is that of the platform's config"
    ),
    "GET /images/{name}/history": Ask(names={"name": IMAGE}),
    "POST /images/{name}/push": Ask(names={"name": "{registry}/box"}, query={"tag": "1"}),
    "POST /images/{name}/tag": Ask(names={"name": IMAGE}, query={"repo": "{registry}/box", "tag": "1"}),
    "DELETE /images/{name}": Ask(names={"name": "imported:latest"}),
    "GET /images/search": Ask(query={"term": "{index}/box"}),
    "GET /images/{name}/get": Ask(names={"name": IMAGE}),
    "GET /images/get": Ask(query={"names": IMAGE}),
    "POST /images/load": Ask(body="{tar}", headers=TAR),
    "POST /images/prune": Ask(query={"filters": '{"label": ["none"]}'}),
    "GET /distribution/{name}/json": Ask(names={"name": "{registry}/box:1"}),
    "POST /auth": Ask(body={"username": "me", "password": "x", "serveraddress": "{registry}"}),
    "POST /commit": Ask(query={"container": ENDED}),
    "GET /events": Ask(query={"since": "1", "until": "2"}),
    "POST /volumes/create": Ask(body={"Name": "made"}, remark="the driver `local` only; no plugins"),
    "GET /volumes/{name}": Ask(names={"name": "made"}),
    "PUT /volumes/{name}": Ask(names={"name": "made"}),
    "DELETE /volumes/{name}": Ask(names={"name": "made"}),
    "POST /networks/create": Ask(
        body={"Name": "made"},
        remark="bridge, macvlan and ipvlan; no overlay, no plugins, no network without IPv4, of the gateway "
        "modes nat only",
    ),
    "GET /networks/{id}": Ask(names={"id": "made"}),
    "POST /networks/{id}/connect": Ask(names={"id": "made"}, body={"Container": RUNNING}),
    "POST /networks/{id}/disconnect": Ask(names={"id": "made"}, body={"Container": RUNNING}),
    "DELETE /networks/{id}": Ask(names={"id": "made"}),
    "GET /plugins": Ask(remark="always empty"),
    "POST /session": Ask(),
}

#: Asked before the others, since the others need what they make; and those that take it away, last.
FIRST = ("POST /containers/create", "POST /volumes/create", "POST /networks/create", "POST /images/create",
         "POST /images/{name}/tag", "POST /images/{name}/push", "POST /networks/{id}/connect",
         "POST /containers/{id}/pause", "POST /containers/{id}/unpause", "POST /containers/{id}/rename",
         "POST /containers/{id}/start", "POST /containers/{id}/resize")  # fmt: skip
LAST = ("POST /containers/{id}/stop", "POST /containers/{id}/restart", "POST /networks/{id}/disconnect",
        "DELETE /containers/{id}", "DELETE /images/{name}", "DELETE /volumes/{name}",
        "DELETE /networks/{id}")  # fmt: skip


def in_order(labels: list[str]) -> list[str]:
    """The operations of a description, in the order to ask them."""
    between = [label for label in labels if label not in FIRST and label not in LAST]
    return [label for label in (*FIRST, *between, *LAST) if label in labels]
