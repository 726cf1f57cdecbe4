"""Images for clients of old: the container that an image was committed from, and a client that needs it.

What is shown since when is in history.py.
"""

from collections.abc import Mapping
from typing import Any

from wherryd.api.gates import Document, Version
from wherryd.api.history import container_config

# docker-compose 1.x asks for the newest version there is, and then for what ended with 1.44: it cannot
# recreate a container without. Its last release was in 2021, so it will not learn.
_OLD_COMPOSE = "docker-compose/1."
_OLD_COMPOSE_READS = (1, 44)


def read_by(user_agent: str, version: Version) -> Version:
    """The version that the client expects."""
    return min(version, _OLD_COMPOSE_READS) if user_agent.startswith(_OLD_COMPOSE) else version


def with_container(document: Document, image: Mapping[str, Any]) -> Document:
    """document: of an inspect. image: its config document, which of a committed one names the container."""
    # That of the container that was committed last; compose finds an image's volumes here.
    committed = image.get("container_config")
    known = committed if isinstance(committed, dict) and committed else document["Config"]
    return {
        **document,
        "Container": str(image.get("container") or ""),
        "ContainerConfig": container_config(known),
    }
