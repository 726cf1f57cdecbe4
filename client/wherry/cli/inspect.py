"""`wherry inspect`: containers, images, networks and volumes, whatever the name fits first."""

import contextlib
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from wherry.cli import completing
from wherry.cli.command import engine, flag, print_text, verb
from wherry.errors import EngineProblem, UsageProblem

if TYPE_CHECKING:
    from wherry.cli.output.template import Template
    from wherry.engine.client import EngineClient, Params

#: type -> path; tried in this order, which is Docker's.
PATHS = {
    "container": "/containers/{name}/json",
    "image": "/images/{name}/json",
    "network": "/networks/{name}",
    "volume": "/volumes/{name}",
}
#: What docker's client asks for by --type alone; an engine outside a swarm says that it has none of them.
_OTHERS = {
    "config": "/configs/{name}",
    "node": "/nodes/{name}",
    "plugin": "/plugins/{name}/json",
    "secret": "/secrets/{name}",
    "service": "/services/{name}",
    "task": "/tasks/{name}",
}
#: Docker's exit status for a template that cannot be parsed.
BAD_TEMPLATE = 64


@verb("inspect")
@click.option("-f", "--format", "form", help="json or a Go template.")
@flag("-s", "--size", help="Display total file sizes if the type is container.")
@click.option(
    "--type", "kind", shell_complete=completing.kinds, help="Only inspect objects of the given type."
)
@click.argument("names", nargs=-1, required=True, metavar="NAME|ID...", shell_complete=completing.objects)
@click.pass_context
def inspect(
    ctx: click.Context, form: str | None, size: bool, kind: str | None, names: tuple[str, ...]
) -> int:
    """Return low-level information on containers, images, networks and volumes."""
    if kind is not None and kind not in {*PATHS, *_OTHERS}:
        known = ", ".join(f'"{each}"' for each in sorted({*PATHS, *_OTHERS}))
        wrong = f'unknown type: "{kind}"' if kind else "type is empty"
        raise UsageProblem(f"{wrong}: must be one of {known}")
    return inspect_all(engine(ctx), names, form, kind, {"size": size or None})


def inspect_all(
    client: "EngineClient",
    names: Iterable[str],
    form: str | None,
    kind: str | None,
    params: "Params | None" = None,
) -> int:
    """Prints each by JSON or template, then what went wrong; gives the exit status.

    kind: of PATHS or _OTHERS, or None for whatever fits. params: of the query; "size" is for containers.
    """
    template = parse_template(form) if form and form != "json" else None
    problems: list[str] = []
    found: list[Any] = []
    lines: list[str] = []
    for name in names:
        try:
            value = _find(client, name, kind, params or {})
            if template is None:
                found.append(value)
            else:
                lines.append(render(template, value))
        except EngineProblem as exc:
            if exc.status == 0:
                raise
            problems.append(str(exc))
    if template is None:
        print_text(dump(found, compact=form == "json"))
    else:
        print_text("".join(lines) or "\n")
    for problem in problems:
        click.echo(problem, err=True)
    return 1 if problems else 0


def parse_template(form: str) -> "Template":
    """Raises UsageProblem with Docker's exit status for it."""
    from wherry.cli.output.template import Template, TemplateError

    try:
        return Template.parse(form)
    except TemplateError as exc:
        problem = UsageProblem(f"template parsing error: {exc}")
        problem.exit_code = BAD_TEMPLATE
        raise problem from exc


def render(template: "Template", value: Any) -> str:
    """One object's line. Raises EngineProblem: a missing field is a problem of this object alone."""
    from wherry.cli.output.template import TemplateError
    from wherry.cli.output.values import structs

    with contextlib.suppress(TemplateError):
        return template.render(structs(value)) + "\n"
    try:
        # As docker: what does not fit its types is tried on the plain JSON, where objects are maps.
        return template.render(value, strict=True) + "\n"
    except TemplateError as exc:
        raise EngineProblem(f"template parsing error: {exc}", status=200) from exc


def _find(client: "EngineClient", name: str, kind: str | None, params: "Params") -> Any:
    from wherry.engine.client import segment

    kinds = [kind] if kind else list(PATHS)
    for each in kinds:
        wanted = {key: value for key, value in params.items() if key != "size" or each == "container"}
        try:
            return client.get((PATHS | _OTHERS)[each].format(name=segment(name)), wanted)
        except EngineProblem as exc:
            if kind or not _may_be_another(exc):
                raise
    raise EngineProblem(f"Error: No such object: {name}", status=404)


def _may_be_another(exc: EngineProblem) -> bool:
    """Whether the name may still fit another kind of object."""
    return exc.status in {404, 501} or "invalid reference format" in str(exc)


def dump(found: list[Any], *, compact: bool) -> str:
    """JSON as docker's inspect prints it."""
    if compact:
        return json.dumps(found, separators=(",", ":"), ensure_ascii=False) + "\n"
    return json.dumps(found, indent=4, ensure_ascii=False) + "\n"
