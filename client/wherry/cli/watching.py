"""Measurements of several containers at once, for `stats`: a thread per container, the last sample of each.

Without names it follows the engine's events too: containers that start appear, those that end go.
Source: Engine API, GET /containers/{id}/stats and GET /events.
"""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import click

from wherry.errors import EngineProblem, WherryError
from wherrywire.jsonlines import Decoder, LineError

if TYPE_CHECKING:
    from wherry.engine.client import EngineClient

#: Seconds until every container must have answered once. An engine measures twice, a second apart.
FIRST_SECONDS = 10.0
SHORT_ID = 12


@dataclass(slots=True)
class Sample:
    """shown: what the user called the container, or its short id. stats: None while nothing is known."""

    shown: str
    stats: Mapping[str, Any] | None = None
    problem: WherryError | None = None
    answered: threading.Event = field(default_factory=threading.Event)
    gone: threading.Event = field(default_factory=threading.Event)


class Watched:
    """Containers by name, or all that run (every: also others). Its threads end with the process."""

    def __init__(self, client: "EngineClient", names: Iterable[str], *, every: bool, stream: bool) -> None:
        self._client = client
        self._every = every
        self._stream = stream
        self._changed = threading.Event()
        self._lock = threading.Lock()
        self._samples: dict[str, Sample] = {}
        self._named = tuple(names)
        client.api_version  # noqa: B018 - asked once, here, and not by every thread
        if stream and not self._named:
            # Before the list is asked for, so that nothing starts unseen in between.
            self._in_thread(self._follow_events)
        for name in self._named or self._running():
            self._add(name, name if self._named else name[:SHORT_ID])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for sample in self._samples.values():
            sample.gone.set()

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return bool(self._named) and all(sample.gone.is_set() for sample in self._samples.values())

    def wait_first(self) -> None:
        for sample in self._held():
            sample.answered.wait(FIRST_SECONDS)
        self._raise_named()

    def samples(self) -> list[Sample]:
        """Those known by now, in the engine's order. Without a stream it waits for them."""
        if not self._stream:
            self.wait_first()
        return [
            sample for sample in self._held() if self._named or not (sample.problem or sample.gone.is_set())
        ]

    def pause(self, seconds: float) -> None:
        self._changed.wait(seconds)
        self._changed.clear()

    def report(self) -> int:
        """Says what went wrong with containers that were asked for; gives the exit status."""
        problems = [sample.problem for sample in self._held() if self._named and sample.problem]
        for problem in problems:
            click.echo(problem, err=True)
        return 1 if problems else 0

    # --- below -----------------------------------------------------------------------------------

    def _raise_named(self) -> None:
        """A container that is not there is an error if it was asked for by name."""
        problems = [sample.problem for sample in self._held() if sample.problem]
        if self._named and problems:
            raise EngineProblem("\n".join(map(str, problems)), status=404)

    def _held(self) -> list[Sample]:
        with self._lock:
            return list(self._samples.values())

    def _running(self) -> list[str]:
        found = self._client.get("/containers/json", {"all": self._every or None})
        return [item["Id"] for item in found]

    def _add(self, name: str, shown: str) -> None:
        with self._lock:
            if name in self._samples:
                return
            sample = self._samples[name] = Sample(shown)
        self._in_thread(lambda: self._read(name, sample))

    def _remove(self, name: str) -> None:
        with self._lock:
            sample = self._samples.pop(name, None)
        if sample is not None:
            sample.gone.set()
            self._changed.set()

    def _in_thread(self, work: Any) -> None:
        threading.Thread(target=work, name="stats", daemon=True).start()

    def _read(self, name: str, sample: Sample) -> None:
        from wherry.engine.client import segment

        path = f"/containers/{segment(name)}/stats"
        decoder = Decoder()
        try:
            for chunk in self._client.chunks(path, {"stream": self._stream}):
                for document in decoder.feed(chunk):
                    sample.stats = document
                    sample.answered.set()
                if sample.gone.is_set():
                    return
            # Without a stream there is one document, and no newline after it.
            sample.stats = next(iter(decoder.finish()), sample.stats)
        except (WherryError, LineError) as exc:
            sample.problem = exc if isinstance(exc, WherryError) else EngineProblem(str(exc))
            sample.stats = None
        finally:
            sample.answered.set()
            if self._stream:
                sample.gone.set()
                self._changed.set()

    def _follow_events(self) -> None:
        from wherry.engine.client import filters

        decoder = Decoder()
        try:
            for chunk in self._client.chunks("/events", {"filters": filters([("type", "container")])}):
                for event in decoder.feed(chunk):
                    self._event(event.get("Action"), event["Actor"]["ID"])
        except (WherryError, LineError):
            # The engine has gone; the streams of the containers end too, and tell.
            return

    def _event(self, action: str, container: str) -> None:
        if action == "start" or (action == "create" and self._every):
            if action == "start":
                self._remove(container)  # its stream may be of the run before
            self._add(container, container[:SHORT_ID])
        elif action == "destroy" or (action == "die" and not self._every):
            self._remove(container)
