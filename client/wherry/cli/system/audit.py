"""`wherry system audit`: what lies on the engine's disk, and what of it nobody owns."""

from collections.abc import Iterator
from typing import Any

import click

from wherry.cli.command import engine, flag, print_text, verb


@verb("audit")
@flag("--verify", help="Read every layer back and compare its digest; takes a while.")
@flag("--json", "as_json", help="Print the engine's document.")
@click.pass_context
def audit(ctx: click.Context, verify: bool, as_json: bool) -> None:
    """Show what lies on the engine's disk by owner, data that nobody owns, and images that are not whole.

    Nothing is changed. Sizes are what the disk spends, and add up to what du says. The exit status is 1 when
    something was found; a restart of the engine or `image prune` removes what nobody owns.
    """
    import json

    found = engine(ctx).get("/system/audit", {"verify": "1" if verify else None})
    print_text(
        json.dumps(found, indent=1) + "\n" if as_json else "".join(f"{line}\n" for line in _lines(found))
    )
    if found["unowned"] or found["damaged"]:
        ctx.exit(1)


def _lines(found: dict[str, Any]) -> Iterator[str]:
    from wherry.cli.output import units

    sizes = [*sorted(found["sizes"].items()), ("total", found["total_bytes"])]
    yield from (f"{name:<16}{units.size(size):>12}" for name, size in sizes)
    for each in found["unowned"]:
        yield f"unowned: {each['path']} ({units.size(each['size_bytes'])}): {each['reason']}"
    if found["unowned"]:
        yield "what the engine is making just now is among it"
    yield from (f"damaged: {sentence}" for sentence in found["damaged"])
