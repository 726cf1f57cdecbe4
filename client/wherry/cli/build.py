"""`wherry build`."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any, TextIO

import click

from wherry.cli import buildoutput, preferences, progress
from wherry.cli.command import engine, flag, texts, verb
from wherry.cli.output import units
from wherry.engine import buildcontext, contextsync, lending
from wherry.engine.buildcontext import BuildContext, ChunkReader
from wherry.engine.client import EngineClient, Readable, body_of
from wherry.engine.logins import Logins
from wherry.engine.parse import environment, values
from wherry.engine.progress import Progress, read
from wherry.engine.statcache import StatCache
from wherry.errors import UsageProblem
from wherry.paths import paths
from wherrywire.contextsync import Needs

_HEAD_BYTES = 512
_CHUNK_BYTES = 256 * 1024
_URLS = ("http://", "https://", "git://", "git@", "github.com/")
_OPTIONS = (
    texts("-t", "--tag", "tags", help="Name and optionally a tag in the name:tag format."),
    click.option("-f", "--file", "dockerfile", help="Name of the Dockerfile (default: PATH/Dockerfile)."),
    texts("--build-arg", "build_args", help="Set build-time variables."),
    texts("--secret", "secrets", help="Secret to lend to the build: id=mysecret,src=/local/secret."),
    texts("--ssh", "agents", help="SSH agent to lend to the build: default, or NAME=SOCKET."),
    texts("--label", "labels", help="Set metadata for an image."),
    click.option("--target", help="Set the target build stage to build."),
    flag("--no-cache", help="Do not use cache when building the image."),
    flag("--pull", help="Always attempt to pull a newer version of the image."),
    flag("-q", "--quiet", help="Suppress the build output and print image ID on success."),
    click.option("--iidfile", type=click.Path(path_type=Path), help="Write the image ID to the file."),
    click.option("--network", help="Set the networking mode for the RUN instructions during build."),
    click.option("--platform", envvar="DOCKER_DEFAULT_PLATFORM", help="Set platform of the result."),
    flag("--rm", default=True, help="Remove intermediate containers, also of a failing step."),
    flag("--force-rm", help="Always remove intermediate containers."),
    texts("--add-host", "hosts", help="Add a custom host-to-IP mapping (host:ip)."),
    texts("--cache-from", help="Images to consider as cache sources; the engine's own cache is used always."),
    click.option(
        "--progress", "style", type=click.Choice(["auto", "plain", "tty", "quiet"]), help="Type of output."
    ),
    texts("-o", "--output", "outputs", help="What to make of the result: FOLDER, or type=TYPE,dest=PATH."),
    flag("--push", help="Push the result to its registry: --output type=registry."),
    flag("--load", help="Keep the result in the engine, as always: --output type=docker."),
    click.option(
        "--on-error",
        type=click.Choice(["remove", "keep"]),
        help="What becomes of the container of a failing RUN: keep it for a look (docker's --rm=false).",
    ),
    flag("--check", help="Say what in the Dockerfile could be better, and build nothing."),
    click.option("-m", "--memory", help="Memory limit."),
    click.option("--memory-swap", help="Swap limit equal to memory plus swap: -1 for unlimited swap."),
    click.option("-c", "--cpu-shares", type=int, help="CPU shares (relative weight)."),
    click.option("--cpu-period", type=int, help="Limit the CPU CFS period, in microseconds."),
    click.option("--cpu-quota", type=int, help="Limit the CPU CFS quota, in microseconds."),
    click.option("--cpuset-cpus", help="CPUs in which to allow execution (0-3, 0,1)."),
    click.option("--cpuset-mems", help="MEMs in which to allow execution (0-3, 0,1)."),
    click.option("--shm-size", help="Size of /dev/shm."),
    click.option("--cgroup-parent", help="Parent cgroup for the RUN instructions."),
)


def _options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@verb("build")
@_options
@click.argument("source", metavar="PATH | URL | -")
@click.pass_context
def build(ctx: click.Context, /, source: str, iidfile: Path | None, quiet: bool, **given: Any) -> None:
    """Build an image from a Dockerfile."""
    if given["check"]:
        from wherry.cli import buildcheck

        ctx.exit(buildcheck.check(engine(ctx), source, given["dockerfile"], sys.stdout))
    quiet = quiet or given["style"] == "quiet"
    outputs = buildoutput.parse(given["outputs"], push=given["push"])
    # An archive on stdout is alone there.
    out = sys.stderr if any(output.to_stdout for output in outputs) else sys.stdout
    if iidfile is not None:
        iidfile.unlink(missing_ok=True)
    loan = lending.read(given["secrets"], given["agents"], os.environ)
    with ExitStack() as stack:
        called = engine(ctx)
        build_args = _build_args(given["build_args"])
        # The names every builder knows without ARG; they get into no image.
        for each in preferences.proxies(str(called.endpoint), build_args):
            name, _, value = each.partition("=")
            build_args[name] = value
        sent = _context(called, source, given, build_args, None if quiet else out, stack)
        params = _parameters(given, build_args, quiet, sent.dockerfile)
        params["remote"], params["context"] = sent.remote, sent.token
        params["offer"] = stack.enter_context(lending.lent(called, loan))
        upload = sent.upload or ChunkReader(iter(()))
        logins = Logins().header_for_build()
        answer = stack.enter_context(
            called.call("POST", "/build", params, upload=upload, headers=logins, stream=True)
        )
        image_id = ""

        def noted(lines: Iterable[Progress]) -> Iterator[Progress]:
            nonlocal image_id
            for line in lines:
                if isinstance(line.aux, dict):
                    image_id = str(line.aux.get("ID") or image_id)
                elif quiet:
                    image_id = line.stream.strip() or image_id
                yield line

        progress.show(noted(read(body_of(answer))), out, given["style"])
        for output in outputs:
            buildoutput.write(called, image_id, output, given["tags"], quiet=quiet)
    if iidfile is not None:
        if not image_id:
            raise UsageProblem(f"the engine did not say which image it built; {iidfile} was not written")
        iidfile.write_text(image_id)


def _parameters(
    given: dict[str, Any], build_args: dict[str, str | None], quiet: bool, dockerfile: str | None
) -> dict[str, Any]:
    """Query parameters of POST /build; what is None is not sent."""
    memory, swap, shm = given["memory"], given["memory_swap"], given["shm_size"]
    return {
        "dockerfile": dockerfile,
        "t": list(given["tags"]),
        "buildargs": json.dumps(build_args),
        "labels": json.dumps(environment.labels((), given["labels"])),
        "target": given["target"],
        "nocache": given["no_cache"] or None,
        "pull": given["pull"] or None,
        "q": quiet or None,
        "rm": given["rm"] and given["on_error"] != "keep",
        "forcerm": given["force_rm"] or None,
        "networkmode": given["network"],
        "platform": given["platform"],
        "extrahosts": list(given["hosts"]),
        "cachefrom": json.dumps(list(given["cache_from"])) if given["cache_from"] else None,
        "memory": values.size(memory, "--memory") if memory else None,
        "memswap": values.swap_size(swap) if swap else None,
        "shmsize": values.size(shm, "--shm-size") if shm else None,
        "cpushares": given["cpu_shares"],
        "cpuperiod": given["cpu_period"],
        "cpuquota": given["cpu_quota"],
        "cpusetcpus": given["cpuset_cpus"],
        "cpusetmems": given["cpuset_mems"],
        "cgroupparent": given["cgroup_parent"],
    }


def _build_args(options: Iterable[str]) -> dict[str, str | None]:
    """`NAME=value`; a bare NAME takes its value from the environment, or none."""
    made: dict[str, str | None] = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not name:
            raise UsageProblem(f"invalid --build-arg: {option}; write NAME=value")
        made[name] = value if equals else os.environ.get(name)
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sent:
    """How the engine comes to the context. dockerfile: its name in it."""

    dockerfile: str | None
    upload: Readable | None = None
    remote: str | None = None
    token: str | None = None


def _context(
    called: EngineClient,
    source: str,
    given: dict[str, Any],
    build_args: dict[str, str | None],
    out: TextIO | None,
    stack: ExitStack,
) -> _Sent:
    dockerfile = given["dockerfile"]
    if source == "-":
        if dockerfile == "-":
            raise UsageProblem("invalid argument: can't use stdin for both build context and dockerfile")
        return _Sent(upload=_from_stdin(), dockerfile=dockerfile)
    if source.startswith(_URLS):
        return _Sent(remote=source, dockerfile=dockerfile)
    folder = Path(source)
    if not folder.is_dir():
        raise UsageProblem(
            f'unable to prepare context: path "{source}" not found or no folder; name a folder'
        )
    if dockerfile == "-":
        chosen: Path | bytes | None = sys.stdin.buffer.read()
    else:
        chosen = Path(dockerfile) if dockerfile else None
    synced = True

    def ask(text: bytes) -> Needs | None:
        nonlocal synced
        found = contextsync.needs(called, text, given["target"], build_args)
        synced = found is not None
        # A newer base image may have triggers that nobody knows yet.
        return None if given["pull"] else found

    context = buildcontext.scan(folder, chosen, ask)
    if synced:
        return _Sent(token=_sync(called, folder, context, out), dockerfile=context.dockerfile)
    return _Sent(upload=_upload(context, out, stack), dockerfile=context.dockerfile)


def _sync(called: EngineClient, folder: Path, context: BuildContext, out: TextIO | None) -> str:
    """The token of the context, all of which the engine has then."""
    announced = contextsync.announce(called, context, StatCache(paths().contexts, folder))
    if out is not None:
        sent, total = units.size(announced.missing_bytes), units.size(announced.total_bytes)
        click.echo(
            f"Sending build context to Docker daemon  {sent}" + (f" of {total}" if sent != total else ""), out
        )
    if announced.missing:
        reader = ChunkReader(announced.contents())
        with progress.uploading(reader, "context", announced.missing_bytes) as source:
            contextsync.send(called, announced, source)
    return announced.token


def _upload(context: BuildContext, out: TextIO | None, stack: ExitStack) -> Readable:
    """The whole, for an engine that cannot say what it lacks."""
    if out is not None:
        click.echo(f"Sending build context to Docker daemon  {units.size(context.size_bytes)}", out)
    reader = ChunkReader(context.chunks())
    return stack.enter_context(progress.uploading(reader, "context", context.size_bytes))


def _from_stdin() -> Readable:
    """A context's archive as it is; anything else is a Dockerfile without files."""
    if sys.stdin.isatty():
        raise UsageProblem("build - reads a Dockerfile or an archive from a pipe; name a folder otherwise")
    stream = sys.stdin.buffer
    head = _read_exactly(stream, _HEAD_BYTES)
    if buildcontext.is_archive(head):
        return ChunkReader(chain((head,), iter(lambda: stream.read(_CHUNK_BYTES), b"")))
    return ChunkReader(iter((buildcontext.only_dockerfile(head + stream.read()),)))


def _read_exactly(stream: IO[bytes], size: int) -> bytes:
    data = b""
    while len(data) < size and (more := stream.read(size - len(data))):
        data += more
    return data
