"""RUN: a container of our own runtime on the image so far; what it wrote becomes a layer."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from wherryd.builder import metadata, runmounts
from wherryd.builder.cache import StepKey
from wherryd.builder.dockerfile import heredocs
from wherryd.builder.dockerfile import instructions as ins
from wherryd.builder.dockerfile.errors import DockerfileError
from wherryd.builder.errors import RunFailed
from wherryd.builder.leftovers import LABEL
from wherryd.builder.options import Entitlement
from wherryd.builder.output import Output
from wherryd.builder.runmounts import Origin, Wanted
from wherryd.builder.stage import StageState, Tools
from wherryd.builder.taking import Taking
from wherryd.builder.variables import BuildKitArgument
from wherryd.containers.attach import AttachWish
from wherryd.containers.service import ContainerService
from wherryd.containers.store import Container
from wherryd.errors import RuntimeFault
from wherryd.images.layers import Layer
from wherryd.images.stubs import ENGINE_MOUNT_POINTS
from wherrywire import rawstream

#: On every container of a build: what is left of a killed engine's builds is found by it.
_SCRIPTS = "/dev/pipes"
_HOSTNAME = "buildkitsandbox"
_READ_BYTES = 64 * 1024


async def run(state: StageState, step: ins.Run, origin: Origin) -> None:
    """Raises RunFailed, DockerfileError, EngineError."""
    if step.security == "insecure" and Entitlement.INSECURE not in state.tools.options.allow:
        raise DockerfileError(
            f"RUN --security=insecure needs the entitlement {Entitlement.INSECURE}, which was not given",
            f"build with --allow {Entitlement.INSECURE}; the step is a privileged container then",
        )
    words, script = _words(step, state)
    wanted = await runmounts.wanted(state, step, origin)
    declared = state.scope.declared(state.environment)

    def key(contents: Sequence[object]) -> StepKey:
        """contents: of what is taken out of images."""
        told = iter(contents)
        return state.key(
            {
                "op": "RUN",
                "words": words,
                "script": script,
                "arguments": declared,
                "mounts": [
                    [repr(each.mount), next(told) if each.taken_from else each.content] for each in wanted
                ],
                "network": _network(state.tools, step),
                "hosts": state.tools.options.host_config.get("ExtraHosts") or [],
                "security": step.security,
                "hostname": _hostname(state.tools),
            }
        )

    named = [f"{name}={value}" for name, value in declared.items()]
    created_by = " ".join([f"|{len(named)}", *named, *words] if named else words)
    taking = Taking(
        state=state,
        images=[image for each in wanted if (image := each.taken_from)],
        key=key,
        created_by=lambda _contents: created_by,
        look=lambda: runmounts.look(state.tools, wanted),
    )
    if await taking.cached():
        return
    if state.image is None:
        raise DockerfileError(
            "RUN on an empty image: nothing is in it that could run", "COPY or ADD files first"
        )
    layer, contents = await _execute(state, step, words, script, wanted)
    taking.commit(layer, contents)


def _words(step: ins.Run, state: StageState) -> tuple[list[str], str]:
    """(the words to execute, the text of a script with a "#!" line or "")."""
    found = step.command.heredocs
    if not found:
        return metadata.command_line(step.command, state.config), ""
    line = step.command.words[0]
    if heredocs.parse(line) is not None:
        text = found[0].text
        if text.startswith("#!"):
            return [f"{_SCRIPTS}/{found[0].name}"], text
        return [*metadata.shell(state.config), text], ""
    # The shell itself reads them: as they stand in the Dockerfile.
    text = line + "".join(f"\n{each.content}{each.name}" for each in found)
    return [*metadata.shell(state.config), text], ""


async def _execute(
    state: StageState, step: ins.Run, words: list[str], script: str, wanted: Sequence[Wanted]
) -> tuple[Layer | None, list[str]]:
    """The layer, and digests of what was taken out of images."""
    tools = state.tools
    assert state.image is not None, "the caller checks"  # noqa: S101
    async with AsyncExitStack() as opened:
        # The slot comes first: a locked cache is waited for with it, and its holder has one too.
        await opened.enter_async_context(tools.slots)
        mounts = await runmounts.prepare(opened, tools, wanted)
        if script:
            folder = _script(tools, step.command.heredocs[0].name, script)
            mounts.bind(folder, _SCRIPTS, read_only=True)
        body = {
            "Image": state.image.id,
            "Entrypoint": [""],
            "Cmd": words,
            "Env": [
                *(state.config.get("Env") or ()),
                *(
                    f"{name}={value}"
                    for name, value in state.scope.run_environment(state.environment).items()
                ),
            ],
            "User": state.config.get("User") or "",
            "WorkingDir": state.config.get("WorkingDir") or "",
            "Hostname": _hostname(tools),
            "Labels": {LABEL: tools.build_id},
            "HostConfig": {
                **tools.options.host_config,
                "NetworkMode": _network(tools, step),
                "Privileged": step.security == "insecure",
                "LogConfig": {"Type": "none"},
                "Mounts": mounts.binds,
                "Tmpfs": mounts.tmpfs,
            },
        }
        container = await opened.enter_async_context(_container(tools, body))
        container.lent_environment = tuple(mounts.environment)
        await tools.output.say(f" ---> Running in {container.id[:12]}\n")
        exit_code = await _run_to_end(tools.containers, container, tools.output)
        if exit_code:
            raise RunFailed(
                f"The command '{' '.join(words)}' returned a non-zero code: {exit_code}", exit_code
            )
        layer = await tools.images.commit_rootfs(
            container.id,
            tools.pins,
            newest_seconds=tools.epoch,
            mount_points=[*ENGINE_MOUNT_POINTS, *mounts.targets],
        )
    return layer, [mounts.contents[number] for number, each in enumerate(wanted) if each.taken_from]


def _network(tools: Tools, step: ins.Run) -> str:
    return step.network if step.network != "default" else tools.options.network or "default"


def _hostname(tools: Tools) -> str:
    """BuildKit's own name without another wish: with the container's, what asks for it would never be made
    the same twice."""
    return tools.options.argument(BuildKitArgument.HOSTNAME) or _HOSTNAME


@asynccontextmanager
async def _container(tools: Tools, body: dict[str, Any]) -> AsyncIterator[Container]:
    """Removed at the end; a failed one stays when the build was asked to keep it."""
    container, warnings = await tools.containers.create("", body, bare=True)
    keep = False
    try:
        for warning in warnings:
            await tools.output.say(f" ---> [Warning] {warning}\n")
        yield container
    except RunFailed:
        keep = tools.options.keep_failed
        raise
    finally:
        if not keep:
            await asyncio.shield(tools.containers.remove(container.id, force=True, volumes=True))
            await tools.output.say(f" ---> Removed intermediate container {container.id[:12]}\n")


async def _run_to_end(containers: ContainerService, container: Container, output: Output) -> int:
    attachment = await containers.attach(container.id, AttachWish(stdin=False, stdout=True, stderr=True))
    try:
        try:
            await containers.start(container.id)
        except RuntimeFault as exc:
            raise RunFailed(str(exc), exc.exit_code) from exc
        stream = await attachment.ready
        if stream is not None:
            await _relay(stream.reader, output)
        found = await containers.wait(container, "not-running")
    finally:
        attachment.close()
    if container.cleanup is not None:
        # Its mounts are gone then, and its files are all there.
        await asyncio.shield(container.cleanup)
    return found.code


async def _relay(reader: asyncio.StreamReader, output: Output) -> None:
    decoder = rawstream.Decoder()
    while data := await reader.read(_READ_BYTES):
        for frame in decoder.feed(data):
            text = frame.payload.decode(errors="replace")
            await (output.error(text) if frame.stream == rawstream.StreamId.STDERR else output.say(text))


def _script(tools: Tools, name: str, text: str) -> Path:
    """A heredoc with its own interpreter: a file in a folder that is mounted for this step."""
    folder = tools.folder / "scripts" / secrets.token_hex(8)
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    file = folder / Path(name).name
    file.write_text(text)
    file.chmod(0o755)
    return folder
