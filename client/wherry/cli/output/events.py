"""Events of GET /events -> the lines of `events`."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from wherry.cli.output.values import Tagged
from wherry.errors import UsageProblem

#: Go's name of a field -> its name in JSON, in Go's order; the last value is Go's empty one.
_FIELDS: tuple[tuple[str, str, Any], ...] = (
    ("Status", "status", ""),
    ("ID", "id", ""),
    ("From", "from", ""),
    ("Type", "Type", ""),
    ("Action", "Action", ""),
    ("Actor", "Actor", {}),
    ("Scope", "scope", ""),
    ("Time", "time", 0),
    ("TimeNano", "timeNano", 0),
)


def printer(form: str | None) -> Callable[[Mapping[str, Any]], str]:
    """Event -> its line, without a newline. form: json, a Go template, or None. Raises UsageProblem."""
    if not form:
        return line
    from wherry.cli.output.template import Template, TemplateError

    source = ("{{json .}}" if form == "json" else form).replace("\\t", "\t").replace("\\n", "\n")
    try:
        template = Template.parse(source)
        template.render(struct({}))  # a field that does not exist shows now, not at the first event
    except TemplateError as exc:
        problem = UsageProblem(f"Error parsing format: {exc}")
        problem.exit_code = 64
        raise problem from exc

    def show(event: Mapping[str, Any]) -> str:
        try:
            return template.render(struct(event))
        except TemplateError as exc:
            raise UsageProblem(f"template parsing error: {exc}") from exc

    return show


def line(event: Mapping[str, Any]) -> str:
    """2025-11-24T12:00:00.123456789Z container start 3f4e... (image=mysql, name=db)."""
    actor = event.get("Actor") or {}
    words = [stamp(event), event.get("Type") or "", event.get("Action") or "", actor.get("ID") or ""]
    text = " ".join(words)
    attributes: Mapping[str, str] = actor.get("Attributes") or {}
    if attributes:
        text += f" ({', '.join(f'{key}={attributes[key]}' for key in sorted(attributes))})"
    return text


def stamp(event: Mapping[str, Any]) -> str:
    """The event's time with nine digits, in the user's zone."""
    nanoseconds = event.get("timeNano") or (event.get("time") or 0) * 10**9
    seconds, fraction = divmod(int(nanoseconds), 10**9)
    local = datetime.fromtimestamp(seconds).astimezone()
    zone = local.strftime("%z")
    shown = "Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}"
    return f"{local:%Y-%m-%dT%H:%M:%S}.{fraction:09d}{shown}"


def struct(event: Mapping[str, Any]) -> Tagged:
    """As Docker's client holds it."""
    actor = event.get("Actor") or {}
    attributes = dict(sorted((actor.get("Attributes") or {}).items()))
    held = Tagged({"ID": actor.get("ID") or "", "Attributes": attributes}, ())
    made = {go: event.get(name, empty) for go, name, empty in _FIELDS} | {"Actor": held}
    # Everything but these is left out of JSON when it is empty.
    kept = {"Type", "Action", "Actor"}
    return Tagged(made, [(name, go) for go, name, _ in _FIELDS if go in kept or made[go]])
