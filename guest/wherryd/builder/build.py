"""One build: each stage a task that waits for those it needs, each step from the cache or made anew.

Prints what the classic builder prints: clients, and people, read it.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

from wherryd.builder import metadata, plan
from wherryd.builder.contexts.files import ContextFiles
from wherryd.builder.dockerfile import instructions as ins
from wherryd.builder.dockerfile.errors import DockerfileError
from wherryd.builder.dockerfile.shell import Lexer
from wherryd.builder.dockerfile.stages import Program, Stage, read_trigger
from wherryd.builder.output import StageOutput
from wherryd.builder.run import run
from wherryd.builder.squash import squash
from wherryd.builder.stage import StageState, Tools
from wherryd.builder.transfer import transfer, workdir
from wherryd.builder.variables import Arguments, Scope, platform_arguments
from wherryd.content import digest as digests
from wherryd.errors import InvalidParameter, NotFound
from wherryd.images import document, platforms
from wherryd.images import reference as references
from wherryd.images.image import Image
from wherryd.registry.credentials import ANONYMOUS


class Build:
    """`run` once."""

    def __init__(self, program: Program, tools: Tools) -> None:
        self._program = program
        self._tools = tools
        self._lexer = Lexer(escape=program.escape)
        host = platforms.host()
        wanted = platforms.parse(tools.options.platform)
        self._arguments = Arguments(tools.options.build_args, platform_arguments(wanted, host))
        self._scopes: dict[int, Scope] = {}
        #: What stages stand on, by number; None on scratch.
        self._bases: dict[int, Image | None] = {}
        self._pulled: set[tuple[str, str]] = set()
        self._pulling = asyncio.Lock()
        #: Stages by number: under way, or finished.
        self._tasks: dict[int, asyncio.Task[Image]] = {}
        #: The number of a stage's first step; that of one that nobody foresaw comes after all others.
        self._first_steps: dict[int, int] = {}
        self._steps = 0
        self._side_by_side = False

    async def run(self) -> Image:
        """Raises RunFailed, DockerfileError with its line, EngineError."""
        program, say = self._program, self._tools.output.say
        for warning in program.warnings:
            await self._tools.output.error(f"{warning}\n")
        for finding in self._tools.findings:
            if finding.rule != "NoEmptyContinuation":  # said above, in the classic builder's words
                await say(f"[Warning] {finding.rule}: {finding.text} (line {finding.line})\n")
        last = plan.target(program, self._tools.options.target)
        for argument in program.arguments:
            self._declare_globals(argument)
        needs = plan.needed(program, last, self._base, self._tools.named.has)
        self._side_by_side = not plan.is_chain(needs)
        self._number(last, list(needs))
        for number, argument in enumerate(program.arguments, 1):
            await say(f"Step {number}/{self._steps} : {argument.text}\n")
        try:
            for number in needs:
                self._task(program.stages[number], labels=number == last.number)
            await self._all_done()
        finally:
            await self._cancel()
        for name in self._arguments.unused():
            await say(f"[Warning] One or more build-args [{name}] were not consumed\n")
        image = self._tools.finished[last.number]
        if self._tools.options.squash:
            image = await squash(self._tools, image, self._bases[last.number])
            await self._tools.output.line({"aux": {"ID": image.id}})
        return image

    def _number(self, last: Stage, numbers: Sequence[int]) -> None:
        self._steps = len(self._program.arguments)
        for number in numbers:
            stage = self._program.stages[number]
            self._first_steps[number] = self._steps + 1
            self._steps += 1 + len(stage.steps) + (stage is last and bool(self._tools.options.labels))

    def _task(self, stage: Stage, *, labels: bool = False) -> asyncio.Task[Image]:
        if stage.number not in self._tasks:
            self._tasks[stage.number] = asyncio.create_task(self._stage(stage, labels=labels))
        return self._tasks[stage.number]

    async def _all_done(self) -> None:
        """Raises what the first failing stage raises; one that waits for it fails with it."""
        while waiting := [task for task in self._tasks.values() if not task.done()]:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()

    async def _cancel(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _declare_globals(self, argument: ins.Arg) -> None:
        for pair in argument.pairs:
            default = None if pair.value is None else self._expand_global(pair.value, argument)
            self._arguments.declare_global(pair.name, default)

    def _expand_global(self, word: str, place: ins.Instruction) -> str:
        with self._program.placing(place):
            return self._lexer.expand(word, self._arguments.globals())

    def _base(self, stage: Stage) -> str:
        name = self._expand_global(stage.start.base, stage.start)
        with self._program.placing(stage.start):
            if not name:
                raise DockerfileError(
                    f"base name ({stage.start.base}) should not be blank", "give the ARG in it a default"
                )
        return name

    # stages

    async def _stage(self, stage: Stage, *, labels: bool = False) -> Image:
        tools = self._tools
        if self._side_by_side:
            tools = replace(tools, output=StageOutput(tools.output, stage.name))
        steps: Sequence[ins.Instruction] = stage.steps
        if labels and tools.options.labels:
            steps = [*steps, _label(tools.options.labels, stage)]
        first = self._first_steps.setdefault(stage.number, self._steps + 1)
        self._steps = max(self._steps, first + len(steps))
        await tools.output.say(f"Step {first}/{self._steps} : {stage.start.text}\n")
        with self._program.placing(stage.start):
            state = await self._begin(stage, tools)
        self._bases[stage.number] = state.image
        await _show(state)
        for number, step in enumerate(steps, first + 1):
            await tools.output.say(f"Step {number}/{self._steps} : {step.text}\n")
            with self._program.placing(step):
                await self._carry_out(stage, state, step)
            await tools.output.flush()
            await _show(state)
        if state.image is None:
            with self._program.placing(stage.start):
                raise InvalidParameter("No image was generated. Is your Dockerfile empty?")
        await tools.output.line({"aux": {"ID": state.image.id}})
        tools.finished[stage.number] = state.image
        self._scopes[stage.number] = state.scope
        return state.image

    async def _begin(self, stage: Stage, tools: Tools) -> StageState:
        name = self._base(stage)
        platform = self._expand_global(stage.start.platform, stage.start) or self._tools.options.platform
        scope = Scope(self._arguments)
        named = await tools.named.get(name) if tools.named.has(name) else name
        below = None if named is not name else plan.earlier(self._program, stage, name, by_number=False)
        if below is not None:
            image: Image | None = await self._finished(below)
            scope.inherit(self._scopes[below.number])
        elif named == "scratch" or isinstance(named, ContextFiles):
            image = None
        else:
            image = await self._image(named, platform)
        if image is not None:
            self._tools.held.add(image.id)
        state = StageState(
            tools=tools,
            lexer=self._lexer,
            image=image,
            made_for=document.platform_of(image, platform),
            config=metadata.start(image.runtime_config if image else {}),
            scope=scope,
        )
        if isinstance(named, ContextFiles):
            await self._carry_out(stage, state, _whole(stage, name))
        triggers = list(image.runtime_config.get("OnBuild") or ()) if image else []
        if triggers:
            await self._triggers(stage, state, triggers, name)
        return state

    async def _image(self, name: str, platform: str) -> Image:
        """An image by name, of an index the one for the platform; one that is not here is pulled, with --pull
        any that has a registry's name."""
        try:
            image: Image | None = self._here(name, platform)
        except NotFound:
            image = None
        if image is None or (self._tools.options.pull and not name.startswith("sha256:")):
            async with self._pulling:
                await self._pull(name, platform)
            image = self._here(name, platform)
        if platform:
            wanted, has = platforms.parse(platform), document.platform_of(image, "")
            if not platforms.fits(has, wanted):
                raise NotFound(
                    f"image {name} was found but is for {has.os}/{has.architecture}, not {platform} "
                    "(hint: pull or load it for that platform)"
                )
        self._tools.held.add(image.id)
        return image

    def _here(self, name: str, platform: str) -> Image:
        """What is here of the name. Of an index only what the build is for: the rest can be pulled."""
        image = self._tools.images.resolve(name)
        if not image.index:
            return image
        return self._tools.images.resolve(name, platform or platforms.text(platforms.host()))

    async def _pull(self, name: str, platform: str) -> None:
        """Raises what a pull raises. Once per build, name and platform."""
        if (name, platform) in self._pulled:
            return
        self._pulled.add((name, platform))
        reference = references.parse(name).with_default_tag()
        user = self._tools.options.credentials.get(reference.domain, ANONYMOUS)
        async for line in self._tools.images.pull(reference.canonical, platform=platform, credentials=user):
            await self._tools.output.line(line)

    async def _finished(self, stage: Stage) -> Image:
        """A stage's image. One that only a trigger or a variable names is begun now."""
        return await asyncio.shield(self._task(stage))

    async def _triggers(self, stage: Stage, state: StageState, triggers: Sequence[str], image: str) -> None:
        plural = "s" if len(triggers) > 1 else ""
        await state.tools.output.say(f"# Executing {len(triggers)} build trigger{plural}\n")
        for trigger in triggers:
            try:
                await self._carry_out(stage, state, read_trigger(trigger, image))
            except DockerfileError as exc:
                raise DockerfileError(
                    f"in the trigger {trigger!r} of image {image}: {exc.problem}", exc.hint
                ) from exc
            await _show(state)

    # steps

    async def _carry_out(self, stage: Stage, state: StageState, step: ins.Instruction) -> None:
        async def origin(name: str) -> Image | ContextFiles:
            if state.tools.named.has(name):
                found = await state.tools.named.get(name)
                if isinstance(found, ContextFiles):
                    return found
                return await self._image(found, self._tools.options.platform)
            other = plan.earlier(self._program, stage, name, by_number=True)
            return await (self._finished(other) if other else self._image(name, self._tools.options.platform))

        if isinstance(step, ins.Run):
            await run(state, step, origin)
        elif isinstance(step, ins.Copy | ins.Add):
            await transfer(state, step, origin)
        elif isinstance(step, ins.Workdir):
            await workdir(state, step)
        else:
            await self._metadata(state, step)

    async def _metadata(self, state: StageState, step: ins.Instruction) -> None:
        if isinstance(step, ins.Arg):
            comment = _argument(state, step)
        elif isinstance(step, ins.Cmd):
            comment = metadata.cmd(step, state.config)
            state.cmd_is_ours = state.cmd_is_ours or bool(step.command.words)
        elif isinstance(step, ins.Entrypoint):
            comment = metadata.entrypoint(step, state.config, cmd_is_ours=state.cmd_is_ours)
        elif isinstance(step, ins.Maintainer):
            state.author = step.maintainer
            comment = f"MAINTAINER {step.maintainer}"
        else:
            comment = metadata.apply(step, state.config, state.expand, state.split)
        key = state.key({"op": step.keyword, "comment": comment})
        created_by = metadata.no_operation(state.config, comment)
        if not await state.cached(key, created_by):
            state.commit(key, created_by, None)


async def _show(state: StageState) -> None:
    await state.tools.output.say(f" ---> {digests.short(state.image.id) if state.image else ''}\n")


def _argument(state: StageState, step: ins.Arg) -> str:
    words = []
    for pair in step.pairs:
        default = None if pair.value is None else state.expand(pair.value)
        name = state.expand(pair.name)
        state.scope.declare(name, default)
        words.append(name if default is None else f"{name}={default}")
    return " ".join(["ARG", *words])


def _whole(stage: Stage, name: str) -> ins.Copy:
    """A FROM of a named context that is a folder: all its files, on nothing."""
    start = stage.start
    return ins.Copy(
        keyword="COPY",
        text=start.text,
        line=start.line,
        end=start.end,
        sources=("/",),
        heredocs=(),
        destination="/",
        chown="",
        chmod="",
        link=False,
        excludes=(),
        origin=_literal(name),
        parents=False,
    )


def _label(labels: Mapping[str, str], stage: Stage) -> ins.Label:
    """--label: one LABEL more at the end, whose values are taken as they are."""
    quoted = tuple(ins.Pair(_literal(name), _literal(value)) for name, value in sorted(labels.items()))
    shown = " ".join(f"{name}={value}" for name, value in sorted(labels.items()))
    return ins.Label(keyword="LABEL", text=f"LABEL {shown}", line=stage.start.line, end=0, pairs=quoted)


def _literal(text: str) -> str:
    """In single quotes nothing is special; a single quote itself stands between double ones."""
    return "'" + text.replace("'", "'\"'\"'") + "'"
