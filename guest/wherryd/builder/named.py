"""Named contexts: what a FROM or a `from` means before stages and images are asked.

Source: docker buildx build reference, "--build-context". A folder of the client comes as a context that it
announced, `context:TOKEN`; the forms `docker-image://NAME` and URLs are docker's own.
"""

import asyncio
import secrets
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from wherryd.builder import remote
from wherryd.builder.contexts.files import ContextFiles
from wherryd.builder.contexts.synced import SyncedContexts
from wherryd.errors import InvalidParameter
from wherryd.images import reference as references

_IMAGE = "docker-image://"
_SYNCED = "context:"


def tokens(given: Mapping[str, str]) -> list[str]:
    """Of announced contexts, which are for one build."""
    return [text.removeprefix(_SYNCED) for text in given.values() if text.startswith(_SYNCED)]


def among(names: Collection[str]) -> Callable[[str], bool]:
    """Whether a name is one of these, however it is written."""
    known = set(map(_normal, names))
    return lambda name: _normal(name) in known


class NamedContexts:
    """Of one build. folder: of that build."""

    def __init__(self, given: Mapping[str, str], folder: Path, synced: SyncedContexts) -> None:
        self._given = {_normal(name): text for name, text in given.items()}
        self._folder = folder
        self._synced = synced
        self._found: dict[str, ContextFiles] = {}
        self._fetching = asyncio.Lock()

    def has(self, name: str) -> bool:
        return _normal(name) in self._given

    async def get(self, name: str) -> ContextFiles | str:
        """A folder's files, or the reference of an image. Raises InvalidParameter, NotFound."""
        name = _normal(name)
        text = self._given[name]
        if text.startswith(_IMAGE):
            return text.removeprefix(_IMAGE)
        async with self._fetching:
            if name not in self._found:
                self._found[name] = await self._fetched(name, text)
        return self._found[name]

    async def _fetched(self, name: str, text: str) -> ContextFiles:
        scratch = self._folder / f"named-{secrets.token_hex(8)}"
        files = scratch / "files"
        files.mkdir(parents=True)
        if text.startswith(_SYNCED):
            return self._synced.take(text.removeprefix(_SYNCED), files)
        if await remote.receive(text, scratch, files):
            raise InvalidParameter(f"build context {name}: {text} is no archive; ADD takes a single file")
        return ContextFiles(files)


def _normal(name: str) -> str:
    """`alpine` and `docker.io/library/alpine:latest` are the same image; other names are lower case."""
    try:
        return references.parse(name.lower()).with_default_tag().canonical.lower()
    except InvalidParameter:
        return name.lower()
