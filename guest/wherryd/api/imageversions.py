"""What older versions of the API show of an image. Source: Engine API, "Version history"."""

from collections.abc import Mapping
from typing import Any

Document = dict[str, Any]
Version = tuple[int, int]

# Before 1.50 an image's Config was a container's: with the fields that only a container can have.
_CONTAINER_FIELDS: Document = {
    "Hostname": "",
    "Domainname": "",
    "User": "",
    "AttachStdin": False,
    "AttachStdout": False,
    "AttachStderr": False,
    "Tty": False,
    "OpenStdin": False,
    "StdinOnce": False,
    "Env": None,
    "Cmd": None,
    "Image": "",
    "Volumes": None,
    "WorkingDir": "",
    "Entrypoint": None,
    "OnBuild": None,
    "Labels": None,
}
_ONLY_OF_CONTAINERS = frozenset(
    (
        *("AttachStderr", "AttachStdin", "AttachStdout", "Domainname", "Hostname", "Image", "MacAddress"),
        *("NetworkDisabled", "OpenStdin", "StdinOnce", "StopTimeout", "Tty"),
    )
)


# docker-compose 1.x asks for the newest version there is, and then for what ended with 1.44: it cannot
# recreate a container without. Its last release was in 2021, so it will not learn.
_OLD_COMPOSE = "docker-compose/1."
_OLD_COMPOSE_READS = (1, 44)


def inspect(document: Document, image: Mapping[str, Any], version: Version, user_agent: str = "") -> Document:
    """image: its config document, which of a committed one names the container."""
    if user_agent.startswith(_OLD_COMPOSE):
        version = min(version, _OLD_COMPOSE_READS)
    shown = dict(document)
    if version < (1, 50):
        shown["Config"] = _CONTAINER_FIELDS | document["Config"]
    else:
        # An image that dockerd committed has a whole container's config in it.
        shown["Config"] = {
            key: value for key, value in document["Config"].items() if key not in _ONLY_OF_CONTAINERS
        }
    if version < (1, 45):
        shown["Container"] = str(image.get("container") or "")
        # That of the container that was committed last; compose finds an image's volumes here.
        committed = image.get("container_config")
        known = committed if isinstance(committed, dict) and committed else document["Config"]
        shown["ContainerConfig"] = _CONTAINER_FIELDS | known
    if version < (1, 44):
        shown["VirtualSize"] = document["Size"]
    return shown


def summary(document: Document, version: Version) -> Document:
    shown = dict(document)
    if version < (1, 44):
        shown["VirtualSize"] = document["Size"]
    if version < (1, 43) and not document["RepoTags"] and not document["RepoDigests"]:
        shown["RepoTags"] = ["<none>:<none>"]
        shown["RepoDigests"] = ["<none>@<none>"]
    return shown
