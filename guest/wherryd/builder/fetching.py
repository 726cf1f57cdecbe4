"""Where the sources of a COPY or ADD come from: the context, an image, the web, a git repository."""

import secrets
from contextlib import aclosing
from pathlib import Path

from wherryd.builder import context, download
from wherryd.builder.copying.order import Part
from wherryd.builder.dockerfile import instructions as ins
from wherryd.builder.dockerfile.errors import DockerfileError
from wherryd.builder.git import address
from wherryd.builder.git.process import archive
from wherryd.builder.stage import StageState
from wherryd.errors import InvalidParameter


async def parts(state: StageState, step: ins.Copy | ins.Add, directory: str) -> tuple[Part, ...]:
    """In the order of the Dockerfile; downloads are here when this returns. directory: of plain files, ""
    for those of an image. Raises DockerfileError, InvalidParameter."""
    sources = [state.expand(each) for each in step.sources]
    if not isinstance(step, ins.Add):
        if any(map(_is_remote, sources)):
            raise DockerfileError("source can't be a URL for COPY", "ADD takes URLs")
        return (Part(directory=directory, patterns=tuple(sources)),) if sources else ()
    checksum = state.expand(step.checksum)
    if checksum:
        _check_checksum(sources, len(sources) + len(step.heredocs))
    found: list[Part] = []
    plain: list[str] = []

    def close() -> None:
        if plain:
            unpack = step.unpack is not False
            found.append(Part(directory=directory, patterns=tuple(plain), unpack=unpack))
            plain.clear()

    for source in sources:
        if _is_remote(source):
            close()
            found.append(await _fetched(state, step, source, checksum))
        else:
            plain.append(source)
    close()
    return tuple(found)


def _is_remote(source: str) -> bool:
    return source.startswith(download.SCHEMES) or address.is_git(source)


def _check_checksum(sources: list[str], count: int) -> None:
    if not any(map(_is_remote, sources)):
        raise DockerfileError(
            "checksum can't be specified for sources that are no downloads", "take --checksum out"
        )
    if count > 1:
        raise DockerfileError("checksum can't be specified for multiple sources", "write an ADD for each")


async def _fetched(state: StageState, step: ins.Add, source: str, checksum: str) -> Part:
    """In a folder of its own."""
    folder = state.tools.folder / "downloads" / secrets.token_hex(8)
    folder.mkdir(parents=True)
    if address.is_git(source):
        await state.tools.output.say(f"Fetching {source}\n")
        await _clone(state, source, checksum, folder, keep_git_dir=step.keep_git_dir)
        return Part(directory=str(folder), patterns=("/",))
    await state.tools.output.say(f"Downloading {source}\n")
    try:
        path = (await download.download(source, folder, 0, checksum)).path
    except InvalidParameter as exc:
        if isinstance(exc, DockerfileError):
            raise
        raise InvalidParameter(f"ADD failed: {exc}") from exc
    return Part(directory=str(folder), patterns=(path,), unpack=bool(step.unpack))


async def _clone(state: StageState, source: str, checksum: str, folder: Path, *, keep_git_dir: bool) -> None:
    wanted = address.parse(source, checksum, keep_git_dir=keep_git_dir)
    async with aclosing(archive(wanted, state.tools.folder)) as stream:
        await context.receive(stream, folder)
