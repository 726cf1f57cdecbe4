"""Reads options as VBoxManage does: `--name value` or `--name=value`, and its words for what is wrong."""

from __future__ import annotations

from vboxqemu.errors import InvalidArgument, Syntax

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def parse(
    words: Sequence[str], values: Mapping[str, str], flags: Mapping[str, str] | None = None
) -> tuple[list[str], dict[str, str]]:
    """(positional words, {key: value}). values: option -> key, takes a value; flags: option -> key, value
    "on".

    Raises Syntax for an unknown option or a missing value.
    """
    flags = flags or {}
    positional: list[str] = []
    found: dict[str, str] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if not word.startswith("-") or word == "-":
            positional.append(word)
        elif name in flags and not equals:
            found[flags[name]] = "on"
        elif name in values:
            if not equals:
                if not rest:
                    raise Syntax(f"Missing argument to '{name}'")
                value = rest.pop(0)
            found[values[name]] = value
        else:
            raise Syntax(f"Unknown option: {word}")
    return positional, found


def whole_number(text: str, what: str, *, least: int, most: int) -> int:
    """Raises InvalidArgument when it is no number or out of range."""
    try:
        number = int(text, 0)
    except ValueError:
        raise InvalidArgument(f"Invalid {what}: '{text}' is not a number") from None
    if not least <= number <= most:
        raise InvalidArgument(f"Invalid {what}: {number} (must be in range [{least}, {most}])")
    return number


def one(positional: Sequence[str], what: str) -> str:
    """The only positional word. Raises Syntax when there is none or more."""
    if not positional:
        raise Syntax(f"{what} not specified")
    if len(positional) > 1:
        raise Syntax(f"Invalid parameter '{positional[1]}'")
    return positional[0]
