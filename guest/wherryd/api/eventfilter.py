"""Which events a client wants. Source: Engine API, SystemEvents: AND across keys, OR within one."""

from collections.abc import Mapping, Sequence

from wherryd.containers.events import EngineEvent

ACCEPTED = frozenset(
    (
        "config", "container", "daemon", "event", "image", "label", "network",
        "node", "plugin", "scope", "secret", "service", "type", "volume",
    )
)  # fmt: skip

#: These carry a detail behind a colon, so they match by their beginning.
_BY_PREFIX = ("health_status", "exec_create", "exec_start")


def matches(event: EngineEvent, filters: Mapping[str, Sequence[str]]) -> bool:
    return all(_matches(event, key, values) for key, values in filters.items() if values)


def _matches(event: EngineEvent, key: str, values: Sequence[str]) -> bool:
    if key == "event":
        return any(_action(event.action, value) for value in values)
    if key == "type":
        return event.type in values
    if key == "scope":
        return "local" in values
    if key == "label":
        return all(_label(event.attributes, value) for value in values)
    if key == "image":
        return _image(event, values)
    # container, network, volume, daemon, ...: by the start of the id or of the name.
    name = event.attributes.get("name", "")
    return event.type == key and any(
        event.actor_id.startswith(value) or name.startswith(value.removeprefix("/")) for value in values
    )


def _action(action: str, wanted: str) -> bool:
    return action == wanted or (wanted.startswith(_BY_PREFIX) and action.startswith(wanted))


def _label(attributes: Mapping[str, str], wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in attributes and (not equals or attributes[key] == value)


def _image(event: EngineEvent, values: Sequence[str]) -> bool:
    """The image of an image event or of a container's; also with its tag left out."""
    names = {event.attributes.get("image", ""), event.attributes.get("name", "")}
    if event.type == "image":
        names.add(event.actor_id)
    elif event.type == "container":
        names = {event.attributes.get("image", "")}
    else:
        return False
    names |= {name.rpartition(":")[0] for name in names if ":" in name.rpartition("/")[2]}
    return bool((names - {""}) & set(values))
