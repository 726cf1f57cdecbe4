"""`--format` of listings: table (the default), `table TEMPLATE`, json, raw templates, and --quiet."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from wherry.cli.output.functions import HEADER_FUNCTIONS
from wherry.cli.output.table import align
from wherry.cli.output.template import Template, TemplateError
from wherry.cli.output.values import Row
from wherry.errors import UsageProblem

TABLE = "table"
QUIET = "{{.ID}}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """template: with Docker's two escapes resolved. table: print a heading and align the columns."""

    template: Template
    table: bool

    def uses(self, field: str) -> bool:
        """Whether the template names a field: some are costly to ask for."""
        return f".{field}" in self.template.source


def choose(option: str | None, *, default: str, quiet: bool, raw: str = "") -> Format:
    """What the user's options ask for. default: the table's row template. Raises UsageProblem."""
    if option in {None, "", TABLE}:
        return _parse(QUIET, table=False) if quiet else _parse(default, table=True)
    if quiet:
        return _parse(QUIET, table=False)
    if option == "json":
        return _parse("{{json .}}", table=False)
    if option == "raw":
        return _parse(raw, table=False)
    text = str(option)
    table = text.startswith(TABLE)
    return _parse(text.removeprefix(TABLE) if table else text, table=table)


def _parse(text: str, *, table: bool) -> Format:
    # In a shell's quotes `\t` stays two characters; Docker reads it as a tab.
    source = text.strip(" ").replace("\\t", "\t").replace("\\n", "\n")
    try:
        return Format(template=Template.parse(source), table=table)
    except TemplateError as exc:
        raise UsageProblem(f"template parsing error: {exc}") from exc


def render(chosen: Format, rows: Iterable[Row], headers: Mapping[str, str]) -> str:
    """The whole output, ending in a newline unless it is empty. Raises UsageProblem."""
    try:
        lines = [chosen.template.render(row) for row in rows]
        if not chosen.table:
            return "".join(line + "\n" for line in lines)
        heading = chosen.template.render(
            Row(headers, {"Label": lambda name: _title(name)}), functions=HEADER_FUNCTIONS
        )
    except TemplateError as exc:
        raise UsageProblem(f"failed to execute template: {exc}") from exc
    return align("\n".join([heading, *lines])) + "\n"


def _title(label: str) -> str:
    """The heading of a column that shows one label: its last part, as Docker has it."""
    return label.rsplit(".", 1)[-1].replace("-", " ").replace("_", " ")
