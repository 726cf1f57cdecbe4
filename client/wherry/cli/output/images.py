"""Images of GET /images/json -> the lines of `images`: one per tag, digest or dangling image."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from wherry.cli import references
from wherry.cli.output import units
from wherry.cli.output.containers import short_id
from wherry.cli.output.values import Row

HEADERS = {
    "ID": "IMAGE ID",
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Digest": "DIGEST",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "Size": "SIZE",
    "Containers": "CONTAINERS",
    "SharedSize": "SHARED SIZE",
    "UniqueSize": "UNIQUE SIZE",
    "VirtualSize": "SIZE",
}
RAW = (
    "repository: {{.Repository}}\ntag: {{.Tag}}\nimage_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\n"
    "virtual_size: {{.Size}}\n"
)
NONE = "<none>"


def rows(items: Iterable[Mapping[str, Any]], *, truncate: bool, digests: bool) -> Iterator[Row]:
    """In the engine's order, which is newest first. digests: a line for each digest of a tag."""
    for item in items:
        for repository, tag, digest in _names(item, digests):
            yield _row(item, repository, tag, digest, truncate)


def _names(item: Mapping[str, Any], show: bool) -> Iterator[tuple[str, str, str]]:
    tags = [text.rpartition(":") for text in item.get("RepoTags") or [] if text != f"{NONE}:{NONE}"]
    digests = [text.partition("@") for text in item.get("RepoDigests") or [] if text != f"{NONE}@{NONE}"]
    if not tags and not digests:
        yield NONE, NONE, NONE
        return
    tagged = {repository for repository, _, _ in tags}
    for repository, _, tag in tags:
        known = [digest for name, _, digest in digests if name == repository] if show else []
        for digest in known or [NONE]:
            yield references.familiar(repository), tag, digest
    for repository, _, digest in digests:
        if repository not in tagged:
            yield references.familiar(repository), NONE, digest if show else ""


def _row(item: Mapping[str, Any], repository: str, tag: str, digest: str, truncate: bool) -> Row:
    size, shared = item.get("Size") or 0, item.get("SharedSize", -1)
    virtual = item.get("VirtualSize") or size
    containers = item.get("Containers", -1)
    return Row(
        {
            "ID": short_id(item["Id"]) if truncate else item["Id"],
            "Repository": repository,
            "Tag": tag,
            "Digest": digest,
            "CreatedSince": units.ago(item["Created"]) if item.get("Created") else "N/A",
            "CreatedAt": units.timestamp(item.get("Created") or 0),
            "Size": units.size(size, 3),
            "Containers": "N/A" if containers == -1 else str(containers),
            "SharedSize": "N/A" if shared == -1 else units.size(shared),
            "UniqueSize": "N/A" if shared == -1 else units.size(size - shared),
            "VirtualSize": units.size(virtual),
        }
    )
