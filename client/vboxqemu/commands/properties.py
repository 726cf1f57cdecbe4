"""guestproperty get|set|delete|enumerate|wait, getextradata, setextradata."""

from __future__ import annotations

import fnmatch
import os
import sys

from vboxqemu import files, options, paths, store
from vboxqemu.errors import NotSupported, Syntax

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def run(verb: str, words: Sequence[str]) -> int:
    if verb == "guestproperty":
        return guest_property(words)
    return get_extra(words) if verb == "getextradata" else set_extra(words)


def guest_property(words: Sequence[str]) -> int:
    """Properties the host sets are kept; there are no Guest Additions that would set any from inside."""
    if len(words) < 2:
        raise Syntax("Not enough parameters")
    action = words[0]
    positional, found = options.parse(
        words[1:], {"--flags": "flags", "--patterns": "patterns"}, {"--verbose": "verbose"}
    )
    folder, vm = store.find(positional[0])
    if action == "get":
        value = vm["properties"].get(_word(positional, 1, "property"))
        sys.stdout.write("No value set!\n" if value is None else f"Value: {value}\n")
    elif action == "enumerate":
        pattern = found.get("patterns", "*")
        sys.stdout.write(
            "".join(
                f"{name} = '{value}'\n"
                for name, value in sorted(vm["properties"].items())
                if fnmatch.fnmatchcase(name, pattern)
            )
        )
    elif action in ("set", "delete", "unset"):
        name = _word(positional, 1, "property")
        _store(
            folder,
            vm["name"],
            "properties",
            name,
            positional[2] if action == "set" and len(positional) > 2 else None,
        )
    elif action == "wait":
        raise NotSupported("guestproperty wait needs Guest Additions; read the VM's serial port instead")
    else:
        raise Syntax(f"Invalid parameter '{action}'")
    return 0


def _word(positional: Sequence[str], at: int, what: str) -> str:
    if len(positional) <= at:
        raise Syntax(f"Missing {what}")
    return positional[at]


def _store(folder: str, name: str, table: str, key: str, value: str | None) -> None:
    with store.locked(folder, name):
        vm = store.load(folder)
        if vm is None:
            store.find(name)  # removed since: says so
            return
        entries = vm["properties"] if table == "properties" else vm["extra"]
        if value is None:
            entries.pop(key, None)
        else:
            entries[key] = value
        store.save(folder, vm)


def _global_file() -> str:
    return os.path.join(paths.home(), "extradata.json")


def get_extra(words: Sequence[str]) -> int:
    """getextradata global|VM KEY|enumerate"""
    if len(words) != 2:
        raise Syntax("Incorrect number of parameters: getextradata global|VM KEY|enumerate")
    entries: dict[str, str] = (
        files.read_json(_global_file()) or {} if words[0] == "global" else store.find(words[0])[1]["extra"]
    )
    if words[1] == "enumerate":
        sys.stdout.write("".join(f"Key: {key}, Value: {value}\n" for key, value in sorted(entries.items())))
    else:
        value = entries.get(words[1])
        sys.stdout.write("No value set!\n" if value is None else f"Value: {value}\n")
    return 0


def set_extra(words: Sequence[str]) -> int:
    """setextradata global|VM KEY [VALUE]; without a value the key is removed."""
    if len(words) not in (2, 3):
        raise Syntax("Incorrect number of parameters: setextradata global|VM KEY [VALUE]")
    value = words[2] if len(words) == 3 else None
    if words[0] != "global":
        folder, vm = store.find(words[0])
        _store(folder, vm["name"], "extra", words[1], value)
        return 0
    with files.Lock(os.path.join(paths.home(), "machines.lock")):
        entries: dict[str, str] = files.read_json(_global_file()) or {}
        if value is None:
            entries.pop(words[1], None)
        else:
            entries[words[1]] = value
        files.write_json(_global_file(), entries)
    return 0
