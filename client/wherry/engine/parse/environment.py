"""`-e`, `--env-file`, `-l`, `--label-file` and the other `key=value` options."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from wherry.errors import BadValue, UsageProblem


def environment(files: Iterable[str], options: Iterable[str], environ: Mapping[str, str]) -> list[str]:
    """`K=V` lines of the files, then of the options. A bare `K` takes its value from environ.

    In a file a bare name without a value there is left out; as an option it stays bare, which removes the
    image's own value.
    """
    made: list[str] = []
    for file in files:
        for line in _lines(file, "--env-file"):
            name, found, _ = line.partition("=")
            if found:
                made.append(line)
            elif name in environ:
                made.append(f"{name}={environ[name]}")
    for option in options:
        name, found, _ = option.partition("=")
        if not name:
            reason = f"invalid environment variable: {option}; write NAME=value"
            raise BadValue("--env", option, reason)
        made.append(f"{name}={environ[name]}" if not found and name in environ else option)
    return made


def labels(files: Iterable[str], options: Iterable[str]) -> dict[str, str]:
    """Labels of the files, then of the options. A bare key has the value ""."""
    lines = [line for file in files for line in _lines(file, "--label-file")]
    for option in options:
        if not option.partition("=")[0]:
            raise UsageProblem(f"invalid label '{option}': empty name")
    return pairs([*lines, *options])


def pairs(options: Iterable[str]) -> dict[str, str]:
    """`k=v` -> {"k": "v"}; a bare key has the value ""."""
    return {key: value for key, _, value in (option.partition("=") for option in options)}


def storage_options(options: Iterable[str]) -> dict[str, str]:
    """`size=10G`. Raises UsageProblem in docker's words."""
    given = list(options)
    if not all("=" in text for text in given):
        raise UsageProblem("invalid storage option; write key=value, such as size=10G")
    return pairs(given)


def strict_pairs(options: Iterable[str], option: str) -> dict[str, str]:
    """Like pairs, but a value must be there."""
    given = list(options)
    for text in given:
        key, found, _ = text.partition("=")
        if not found or not key:
            raise UsageProblem(f"invalid value for {option}: {text}; write key=value")
    return pairs(given)


def sysctls(options: Iterable[str]) -> dict[str, str]:
    """`net.core.somaxconn=1024`. Which there are, and which a container may have, the engine says."""
    given = list(options)
    for text in given:
        if not text.partition("=")[0] or "=" not in text:
            raise BadValue("--sysctl", text, f"sysctl '{text}' is not allowed; write NAME=value")
    return pairs(given)


def _lines(file: str, option: str) -> Iterator[str]:
    """Lines that say something: no blanks before, no comments, no byte order mark."""
    try:
        text = Path(file).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        reason = str(exc.strerror).lower() if isinstance(exc, OSError) else "it is not UTF-8"
        raise UsageProblem(f"open {file}: {reason}; name a readable file with {option}") from exc
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.lstrip()
        if not line or line.startswith("#"):
            continue
        name = line.partition("=")[0]
        if not name:
            raise UsageProblem(f"{option}: no variable name on line {number} of {file}: '{line}'")
        if any(char.isspace() for char in name):
            raise UsageProblem(f"{option}: variable '{name}' contains whitespaces, line {number} of {file}")
        yield line
