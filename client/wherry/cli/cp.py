"""`wherry cp`: files between a container and the user's folders, or as a tar stream."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wherry.cli import completing
from wherry.cli.command import Verb, engine, flag, verb
from wherry.errors import UsageProblem

if TYPE_CHECKING:
    from wherry.engine.client import EngineClient
    from wherry.engine.copying.places import Argument


class _Cp(Verb):
    """Either side may be the container's: a usage of two lines."""

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [
            "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n"
            f"\t{ctx.command_path} [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH"
        ]


@verb("cp", cls=_Cp)
@flag("-a", "--archive", help="Archive mode (copy all uid/gid information).")
@flag("-L", "--follow-link", help="Always follow symbol link in SRC_PATH.")
@flag("-q", "--quiet", default=None, help="Suppress progress (default true without a terminal).")
@click.argument("source", metavar="CONTAINER:SRC_PATH|SRC_PATH|-", shell_complete=completing.copied)
@click.argument("target", metavar="DEST_PATH|CONTAINER:DEST_PATH|-", shell_complete=completing.copied)
@click.pass_context
def cp(
    ctx: click.Context, archive: bool, follow_link: bool, quiet: bool | None, source: str, target: str
) -> int:
    """Copy files/folders between a container and the local filesystem.

    '-' as the source reads a tar archive from stdin and extracts it to a folder of the container; '-' as
    the destination streams a tar archive of what is copied to stdout.
    """
    from wherry.engine.copying import places

    one, other = places.argument(source), places.argument(target)
    places.check(one, other)
    if archive and one.container and not _may_own():
        raise UsageProblem("-a keeps the owners, which only root may set; leave it out")
    if quiet is None:
        quiet = not sys.stdout.isatty()
    if one.container:
        return _fetch(engine(ctx), one, other, owners=archive, follow=follow_link, quiet=quiet)
    return _send(engine(ctx), one, other, owners=archive, follow=follow_link, quiet=quiet)


def _may_own() -> bool:
    """Whether this user may give files away."""
    import os

    return sys.platform != "win32" and os.geteuid() == 0


def _fetch(
    client: "EngineClient", source: "Argument", target: "Argument", *, owners: bool, follow: bool, quiet: bool
) -> int:
    """From the container."""
    from wherry.cli import destination, progress
    from wherry.engine.buildcontext import ChunkReader
    from wherry.engine.copying import local, places
    from wherry.engine.copying.container import Files
    from wherry.engine.copying.unpack import unpack

    files = Files(client, source.container)
    path = source.path if source.path.startswith("/") else f"/{source.path}"
    name = places.base(path)
    if name == ".":
        path = path.rstrip("/.") + "/."
    where = None if target.path == places.STREAM else local.target(target.path)
    if follow and (status := files.status(path)) is not None and status.is_link:
        path = status.link_target  # under the link's name, as what it leads to
    with files.read(path) as (status, chunks):
        if where is None:
            destination.write(chunks, None)
            return 0
        place = places.place(name, status.is_folder, where, local.PATHS)
        root = places.base(path)
        with progress.counting(ChunkReader(chunks), "Copying from container", quiet) as archive:
            result = unpack(
                archive,
                Path(place.folder),
                lambda entry: places.renamed(entry, root, place.name),
                owners=owners,
            )
    _done(archive.count, local.shown(target.path), quiet)
    for entry in result.skipped:
        click.echo(f"not copied: {entry}", err=True)
    return 1 if result.skipped else 0


def _send(
    client: "EngineClient", source: "Argument", target: "Argument", *, owners: bool, follow: bool, quiet: bool
) -> int:
    """To the container."""
    from wherry.cli import progress
    from wherry.engine.buildcontext import ChunkReader
    from wherry.engine.copying import local, places
    from wherry.engine.copying.container import Files
    from wherry.engine.copying.pack import pack

    files = Files(client, target.container)
    path = target.path if target.path.startswith("/") else f"/{target.path}"
    status = files.status(path)
    if status is not None and status.is_link:
        path = status.link_target
        status = files.status(path)
    if status is not None and not status.holds_data:
        raise UsageProblem(
            f'destination "{target.container}:{target.path}" must be a directory or a regular file'
        )
    is_folder = status is not None and status.is_folder
    if source.path == places.STREAM:
        if not is_folder:
            raise UsageProblem(f'destination "{target.container}:{target.path}" must be a directory')
        files.write(path, sys.stdin.buffer, owners=owners)
        return 0
    found = local.source(source.path, follow=follow)
    place = places.place(
        found.name,
        found.is_folder,
        places.Target(path=path, exists=status is not None, is_folder=is_folder),
    )
    chunks = ChunkReader(pack(found.path, place.name, owners=owners))
    with progress.counting(chunks, "Copying to container", quiet) as archive:
        files.write(place.folder, archive, owners=owners)
    _done(archive.count, f"{target.container}:{target.path}", quiet)
    return 0


def _done(count: int, where: str, quiet: bool) -> None:
    from wherry.cli.output import units

    if not quiet:
        click.echo(f"Successfully copied {units.size(count, 3)} to {where}", err=True)
