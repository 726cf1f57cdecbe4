r"""What Windows lets a file be called. Pure, so that it can be tested anywhere.

Source: Microsoft, "Naming Files, Paths, and Namespaces".
"""

_FORBIDDEN = frozenset('<>:"|?*\\')
_DEVICES = frozenset(
    {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"}
    | {f"{port}{number}" for port in ("COM", "LPT") for number in "123456789¹²³"}
)


def problem(name: str) -> str:
    r"""Why a name with `/` between its parts cannot be had; "" if it can.

    A backslash is a character like others on Linux and would be a folder here; `x:y` would be a stream.
    """
    for part in name.split("/"):
        if part in {"", ".", ".."}:
            continue
        bad = sorted(char for char in set(part) if char in _FORBIDDEN or ord(char) < 32)
        if bad:
            return f"Windows allows no {bad[0]!r} in a name"
        if part[-1] in " .":
            return "Windows allows no blank or dot at the end of a name"
        if part.partition(".")[0].rstrip().upper() in _DEVICES:
            return "the name of a device on Windows"
    return ""
