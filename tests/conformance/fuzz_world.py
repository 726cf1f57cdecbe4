"""What random requests are led to, so that they find something: containers in each state, an image.

`steer` changes a request that schemathesis made; `refill` makes again what requests have removed.
"""

import random
from typing import Any

from native_engine import IMAGE, NativeEngine, busybox_tar

#: How often a request is left as it was made.
UNTOUCHED = 0.25
RUNNING, ENDED, PAUSED, CREATED = "fuzz-running", "fuzz-ended", "fuzz-paused", "fuzz-created"
VOLUME, NETWORK = "fuzz-volume", "fuzz-network"
#: Ends at SIGTERM, so that no stop takes long.
_LIVING = {"HostConfig": {"Init": True}}
_PATIENT = frozenset({"/containers/{id}/stop", "/containers/{id}/restart"})
_TARS = frozenset({"PUT /containers/{id}/archive", "POST /build", "POST /images/load", "POST /images/create"})
#: Paths inside a container for the archive calls.
_PLACES = ("/", "/etc/passwd", "etc", "/tmp/.", "/proc/self", "/none", "..", "/data", "/dev/null")
#: What a fixed body must have to get past the first checks, by request.
_BODIES: dict[str, dict[str, Any]] = {
    "POST /containers/create": {"Image": IMAGE, "Cmd": ["sleep", "60"]},
    "POST /containers/{id}/exec": {"Cmd": ["true"], "AttachStdout": True},
    "POST /exec/{id}/start": {"Detach": True},
    "POST /containers/{id}/update": {},
    "POST /networks/create": {"Name": "fuzz-made"},
    "POST /networks/{id}/connect": {"Container": RUNNING},
    "POST /networks/{id}/disconnect": {"Container": RUNNING},
    "POST /volumes/create": {"Name": "fuzz-made"},
    "POST /commit": {},
}


class World:
    """Of one engine. dice: the only source of chance, so that a seed gives the same requests again."""

    def __init__(self, engine: NativeEngine, dice: random.Random) -> None:
        self._engine, self._dice = engine, dice
        self._exec = ""
        self._tars = (
            busybox_tar([("Dockerfile", b"FROM busybox:test\nRUN true\n")]),
            busybox_tar()[:700],
            b"\x1f\x8b\x08\x00broken",
            b"",
        )

    def refill(self) -> None:
        """Everything is as at the start, what requests have made is gone."""
        engine = self._engine
        engine.remove_containers()
        engine.remove_networks()
        for volume in engine.call("GET", "/volumes").json["Volumes"] or []:
            engine.call("DELETE", f"/volumes/{volume['Name']}", force="1")
        if engine.call("GET", f"/images/{IMAGE}/json").status != 200:
            engine.import_busybox()
        engine.call("POST", "/volumes/create", {"Name": VOLUME})
        engine.call("POST", "/networks/create", {"Name": NETWORK})
        engine.run("sleep", "600", name=RUNNING, **_LIVING, Volumes={"/data": {}})
        engine.run("sleep", "600", name=PAUSED, **_LIVING)
        engine.call("POST", f"/containers/{PAUSED}/pause")
        engine.wait(engine.run("echo", "ended", name=ENDED))
        engine.create("true", name=CREATED)
        made = engine.call("POST", f"/containers/{RUNNING}/exec", {"Cmd": ["sleep", "1"]})
        self._exec = made.json["Id"]

    def steer(self, case: Any, label: str) -> None:
        """Changes path, query and body of a case of this operation ("POST /containers/create")."""
        path = label.partition(" ")[2]
        query = case.query or {}
        # A negative one waits for as long as the program likes, and that is no fault.
        if path in _PATIENT and str(query.get("t", "")).startswith("-"):
            query["t"] = "0"
        if self._dice.random() < UNTOUCHED:
            return
        for key in case.path_parameters or {}:
            case.path_parameters[key] = self._name(path, key)
        if isinstance(case.body, dict):
            self._fill(case, label)
        for key, values in (("path", _PLACES), ("container", (RUNNING, ENDED)), ("filters", self._filters())):
            if key in query:
                query[key] = self._dice.choice(values)

    def archive(self, label: str) -> bytes | None:
        """A body for what takes an archive: whole, cut off, broken, empty. None: the request's own."""
        if label in _TARS and self._dice.random() > UNTOUCHED:
            return self._dice.choice(self._tars)
        return None

    def _name(self, path: str, key: str) -> str:
        if path.startswith("/containers/"):
            return self._dice.choice((RUNNING, RUNNING, ENDED, PAUSED, CREATED))
        names = {
            "/exec/{id}": self._exec,
            "/images/{name}": IMAGE,
            "/distribution/{name}": IMAGE,
            "/volumes/{name}": VOLUME,
            "/networks/{id}": NETWORK,
        }
        return next((name for start, name in names.items() if path.startswith(start)), key)

    def _fill(self, case: Any, label: str) -> None:
        right = _BODIES.get(label)
        if right is None:
            return
        given = case.body
        fields = self._dice.sample(sorted(given), min(len(given), self._dice.randint(0, 3)))
        body = {**right, **{name: given[name] for name in fields}}
        for name, value in body.items():
            # Of the largest ones again only a part.
            if isinstance(value, dict) and len(value) > 4:
                kept = self._dice.sample(sorted(value), 2)
                body[name] = {each: value[each] for each in kept}
        case.body = body

    def _filters(self) -> tuple[str, ...]:
        return (
            '{"label": ["a=b"]}',
            '{"name": {"fuzz": true}}',
            '{"until": ["1h"]}',
            '{"dangling": ["maybe"]}',
            '{"status": ["running", "nowhere"]}',
            '{"since": ["fuzz-ended"], "before": ["none"]}',
            '{"a": 1}',
            "[]",
            "nonsense",
        )
