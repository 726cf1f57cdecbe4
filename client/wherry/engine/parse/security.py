"""`--security-opt`: profiles are read here, since the engine cannot see the user's files."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from wherry.errors import UsageProblem


@dataclass(frozen=True, slots=True)
class Security:
    """unmasked: `systempaths=unconfined`, which is two lists of the API and no option of it."""

    options: tuple[str, ...]
    unmasked: bool


def security(options: Iterable[str]) -> Security:
    """Raises UsageProblem."""
    kept: list[str] = []
    unmasked = False
    for option in options:
        if option == "systempaths=unconfined":
            unmasked = True
            continue
        kept.append(_option(option))
    return Security(tuple(kept), unmasked)


def _option(option: str) -> str:
    key, found, value = option.partition("=")
    if not found and key != "no-new-privileges":
        key, found, value = option.partition(":")
    if key != "no-new-privileges" and not value:
        raise UsageProblem(f'Invalid --security-opt: "{option}"; write key=value')
    if key != "seccomp" or value in {"builtin", "unconfined"}:
        return option
    try:
        profile = json.loads(Path(value).read_text(encoding="utf-8"))
    except OSError as exc:
        raise UsageProblem(f"opening seccomp profile ({value}) failed: {exc.strerror}") from exc
    except ValueError as exc:
        raise UsageProblem(f"seccomp profile ({value}) is not JSON: {exc}") from exc
    return "seccomp=" + json.dumps(profile, separators=(",", ":"))


def capabilities(added: Iterable[str], dropped: Iterable[str]) -> tuple[list[str], list[str]]:
    """`net_admin` -> CAP_NET_ADMIN. Sorted; ALL stands for the rest, and what is added is not dropped."""
    adding, dropping = _capabilities(added), _capabilities(dropped)
    return sorted(adding), sorted(dropping - adding)


def _capabilities(names: Iterable[str]) -> set[str]:
    upper = {name.strip().upper() for name in names}
    full = {name if name == "ALL" or name.startswith("CAP_") else f"CAP_{name}" for name in upper}
    return {"ALL"} if "ALL" in full else full
