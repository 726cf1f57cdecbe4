"""`wherry build`."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wherry.cli.command import content_trust, engine, flag, refused, texts, verb
from wherry.errors import BadValue, EngineProblem, UsageProblem

if TYPE_CHECKING:
    from wherry.cli.buildoutput import Output
    from wherry.cli.buildsource import Sent
    from wherry.engine.client import EngineClient
    from wherry.engine.http import Answer
    from wherry.engine.lending import Loan
    from wherry.engine.progress import Progress

# What is imported inside functions is not for every build: that of an unchanged folder takes as long as its
# imports.
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
    texts("--cache-from", help="Images whose steps are taken where they fit, and then only theirs."),
    texts("--build-context", help="Additional build contexts: NAME=FOLDER, docker-image://IMAGE or a URL."),
    texts("--allow", help="Allow an extra entitlement: security.insecure, for RUN --security=insecure."),
    flag("--squash", help="Squash newly built layers into a single new layer."),
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
    texts("--ulimit", "ulimits", help="Ulimit options of the RUN instructions (nofile=1024:2048)."),
    flag("--compress", help="Send the whole context, compressed with gzip, instead of what changed."),
    content_trust,
    refused("--security-opt", reason="the engine does not support setting security options on build"),
    refused(
        "--isolation", reason="it is for Windows containers, and these are Linux", unless={"default", ""}
    ),
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

        directive = _build_args(given["build_args"]).get("BUILDKIT_DOCKERFILE_CHECK")
        found = buildcheck.check(
            engine(ctx), source, given["dockerfile"], sys.stdout, given["platform"], directive
        )
        ctx.exit(found)
    from wherry.cli import buildsource, preferences, progress
    from wherry.engine.client import body_of
    from wherry.engine.progress import read

    _check_tags(given["tags"])
    quiet = quiet or given["style"] == "quiet"
    outputs = _outputs(given["outputs"], push=given["push"])
    # An archive on stdout is alone there.
    out = sys.stderr if any(output.to_stdout for output in outputs) else sys.stdout
    if iidfile is not None:
        iidfile.unlink(missing_ok=True)
    with ExitStack() as stack:
        called = engine(ctx)
        build_args = _build_args(given["build_args"])
        # The names every builder knows without ARG; they get into no image.
        for each in preferences.proxies(str(called.endpoint), build_args):
            name, _, value = each.partition("=")
            build_args[name] = value
        loan = _loan(given)
        given["contexts"] = _contexts(given["build_context"])
        # What is lent and what is named is for one build; a quick one may have to be begun a second time.
        quick = not (loan or given["contexts"])
        to_say = None if quiet else out
        sent = buildsource.send(called, source, given, build_args, to_say, stack, quick=quick)
        params = _parameters(given, build_args, quiet)
        if given["contexts"]:
            params["contexts"] = _json(buildsource.named(called, given["contexts"], to_say))
        if loan:
            from wherry.engine import lending

            params["offer"] = stack.enter_context(lending.lent(called, loan))
        try:
            answer = _begin(called, sent, params)
        except EngineProblem as exc:
            if not (sent.quick and exc.status == 404):
                raise
            sent = buildsource.send(called, source, given, build_args, to_say, stack, quick=False)
            answer = _begin(called, sent, params)
        stack.enter_context(answer)
        sent.kept()
        image_id = ""

        def noted(lines: "Iterable[Progress]") -> "Iterator[Progress]":
            nonlocal image_id
            for line in lines:
                if isinstance(line.aux, dict):
                    image_id = str(line.aux.get("ID") or image_id)
                elif quiet:
                    image_id = line.stream.strip() or image_id
                yield line

        progress.show(noted(read(body_of(answer))), out, given["style"])
        for output in outputs:
            from wherry.cli import buildoutput

            buildoutput.write(called, image_id, output, given["tags"], quiet=quiet)
    if iidfile is not None:
        if not image_id:
            raise UsageProblem(f"the engine did not say which image it built; {iidfile} was not written")
        iidfile.write_text(image_id)


def _begin(called: "EngineClient", sent: "Sent", params: dict[str, Any]) -> "Answer":
    from wherry.engine.logins import Logins

    where = {name: getattr(sent, name) for name in ("remote", "context", "needs", "base")}
    return called.call(
        "POST",
        "/build",
        {**params, **where, "dockerfile": sent.dockerfile},
        upload=sent.body,
        headers=Logins().header_for_build(),
        stream=True,
        versioned=not sent.quick,
    )


def _outputs(texts: Iterable[str], *, push: bool) -> "list[Output]":
    if not (texts or push):
        return []
    from wherry.cli import buildoutput

    return buildoutput.parse(list(texts), push=push)


def _loan(given: dict[str, Any]) -> "Loan | None":
    if not (given["secrets"] or given["agents"]):
        return None
    from wherry.engine import lending

    return lending.read(given["secrets"], given["agents"], os.environ)


def _parameters(given: dict[str, Any], build_args: dict[str, str | None], quiet: bool) -> dict[str, Any]:
    """Query parameters of POST /build; what is None is not sent."""
    import json

    from wherry.engine.parse import environment

    sizes = _sizes(given) if any(given[name] for name in ("memory", "memory_swap", "shm_size")) else {}
    return {
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
        "allow": list(given["allow"]) or None,
        "squash": given["squash"] or None,
        "cachefrom": json.dumps(list(given["cache_from"])) if given["cache_from"] else None,
        **sizes,
        "cpushares": given["cpu_shares"],
        "cpuperiod": given["cpu_period"],
        "cpuquota": given["cpu_quota"],
        "cpusetcpus": given["cpuset_cpus"],
        "cpusetmems": given["cpuset_mems"],
        "cgroupparent": given["cgroup_parent"],
        "ulimits": _ulimits(given["ulimits"]),
    }


def _check_tags(tags: Iterable[str]) -> None:
    from wherry.cli import references

    for tag in tags:
        try:
            references.check(tag)
        except UsageProblem as exc:
            raise BadValue("--tag", tag, str(exc)) from exc


def _ulimits(options: Iterable[str]) -> str | None:
    if not options:
        return None
    from wherry.engine.parse import values

    return _json([values.ulimit(text) for text in options])


def _sizes(given: dict[str, Any]) -> dict[str, int | None]:
    from wherry.engine.parse import values

    memory, swap, shm = given["memory"], given["memory_swap"], given["shm_size"]
    return {
        "memory": values.size(memory, "--memory") if memory else None,
        "memswap": values.swap_size(swap) if swap else None,
        "shmsize": values.size(shm, "--shm-size") if shm else None,
    }


def _contexts(options: Iterable[str]) -> dict[str, str]:
    made: dict[str, str] = {}
    for option in options:
        name, _, place = option.partition("=")
        if not name or not place:
            raise UsageProblem(f"invalid --build-context: {option}; write NAME=FOLDER, an image or a URL")
        made[name] = place
    return made


def _json(document: object) -> str:
    import json

    return json.dumps(document)


def _build_args(options: Iterable[str]) -> dict[str, str | None]:
    """`NAME=value`; a bare NAME takes its value from the environment, or none."""
    made: dict[str, str | None] = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not name:
            raise UsageProblem(f"invalid --build-arg: {option}; write NAME=value")
        made[name] = value if equals else os.environ.get(name)
    return made
