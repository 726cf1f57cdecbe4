"""`--format` of listings: table (the default), `table TEMPLATE`, json, raw templates, and --quiet.

The default table and --quiet are plain columns, without the template engine: its import would be a good
part of what `ps` takes.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from wherry.cli.output.table import align
from wherry.cli.output.values import Row
from wherry.errors import UsageProblem

if TYPE_CHECKING:
    from wherry.cli.output.template import Template

TABLE = "table"
QUIET = "ID"
_WHOLE_ROW = re.compile(r"json\s+\.(?!\w)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """Either columns or a template. table: print a heading and align the columns."""

    columns: tuple[str, ...] = ()
    template: "Template | None" = None
    lean: bool = False  # --format json: only what the engine gives anyway, as in Docker
    table: bool

    def uses(self, field: str) -> bool:
        """Whether a field is shown: some are costly to ask for. `{{json .}}` shows all."""
        if self.template is None:
            return field in self.columns
        source = self.template.source
        return f".{field}" in source or (not self.lean and _WHOLE_ROW.search(source) is not None)


def choose(
    option: str | None,
    *,
    columns: tuple[str, ...],
    quiet: bool,
    raw: str = "",
    preference: str = "",
    only_quiet: bool = False,
    quiet_column: str = QUIET,
) -> Format:
    """What the user's options ask for. columns: of the default table. preference: its field in config.json.
    only_quiet: --quiet counts more than a template (of docker's listings, in `ps` alone).

    Raises UsageProblem.
    """
    if quiet and option == "raw":
        mark = f"{{{{.{quiet_column}}}}}"
        return _parse(next(line for line in raw.splitlines() if mark in line), table=False)
    if quiet and (only_quiet or option in {None, "", TABLE}):
        return Format(columns=(quiet_column,), table=False)
    if not option and preference and not quiet:
        from wherry.cli import preferences

        option = preferences.text(preference)
    if option in {None, "", TABLE}:
        return Format(columns=columns, table=True)
    if option == "json":
        return replace(_parse("{{json .}}", table=False), lean=True)
    if option == "raw":
        return _parse(raw, table=False)
    text = str(option)
    table = text.startswith(TABLE)
    return _parse(text.removeprefix(TABLE) if table else text, table=table)


def _parse(text: str, *, table: bool) -> Format:
    from wherry.cli.output.template import Template, TemplateError

    # In a shell's quotes `\t` stays two characters; Docker reads it as a tab.
    source = text.strip(" ").replace("\\t", "\t").replace("\\n", "\n")
    try:
        return Format(template=Template.parse(source), table=table)
    except TemplateError as exc:
        raise UsageProblem(f"template parsing error: {exc}") from exc


def render(chosen: Format, rows: Iterable[Row], headers: Mapping[str, str]) -> str:
    """The whole output, ending in a newline unless it is empty. Raises UsageProblem."""
    if chosen.template is not None:
        lines = _by_template(chosen.template, rows, headers if chosen.table else None)
    else:
        lines = ["\t".join(headers[column] for column in chosen.columns)] if chosen.table else []
        lines += ["\t".join(str(row[column]) for column in chosen.columns) for row in rows]
    text = "".join(line + "\n" for line in lines)
    return align(text) if chosen.table else text


def _by_template(template: "Template", rows: Iterable[Row], headers: Mapping[str, str] | None) -> list[str]:
    """A line per row, below a heading if there are headers."""
    from wherry.cli.output.functions import HEADER_FUNCTIONS
    from wherry.cli.output.template import TemplateError

    try:
        lines = []
        if headers is not None:
            lines.append(template.render(Row(headers, {"Label": _title}), functions=HEADER_FUNCTIONS))
        return lines + [template.render(row) for row in rows]
    except TemplateError as exc:
        raise UsageProblem(f"failed to execute template: {exc}") from exc


def _title(label: str) -> str:
    """The heading of a column that shows one label: its last part, as Docker has it."""
    return label.rsplit(".", 1)[-1].replace("-", " ").replace("_", " ")
