"""`WWW-Authenticate`, as RFC 9110 section 11.6.1 and RFC 6750 write it.

    Bearer realm="https://auth.example/token",service="reg",scope="repository:a/b:pull,push", Basic realm="x"

One header may hold several challenges, parted by the same commas that part their parameters.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105 - a grammar's word
_SPACES = re.compile(r"[ \t,]*")
_SCHEME = re.compile(rf"({_TOKEN})(?:[ \t]+|(?=,)|$)")
_PARAMETER = re.compile(rf'({_TOKEN})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))')
_TOKEN68 = re.compile(r"[A-Za-z0-9\-._~+/]+=*(?=[ \t]*(?:,|$))")
_ESCAPE = re.compile(r"\\(.)")
_MAX_CHARACTERS = 16 * 1024


@dataclass(frozen=True, slots=True)
class Challenge:
    """scheme and parameter names: lower case."""

    scheme: str
    parameters: Mapping[str, str]


def parse(headers: Iterable[str]) -> list[Challenge]:
    """All challenges in order. What is no challenge ends the header it stands in."""
    return [challenge for header in headers for challenge in _parse(header[:_MAX_CHARACTERS])]


def _parse(header: str) -> list[Challenge]:
    found: list[Challenge] = []
    at = _skip(header, 0)
    while at < len(header):
        scheme = _SCHEME.match(header, at)
        if not scheme:
            break
        at = scheme.end()
        parameters: dict[str, str] = {}
        if at > scheme.end(1) and (token := _TOKEN68.match(header, at)):
            at = token.end()  # "Negotiate abc==": no parameters
        at = _skip(header, at)
        while parameter := _PARAMETER.match(header, at):
            name, quoted, plain = parameter.groups()
            parameters.setdefault(name.lower(), plain if quoted is None else _ESCAPE.sub(r"\1", quoted))
            at = _skip(header, parameter.end())
        found.append(Challenge(scheme[1].lower(), parameters))
    return found


def _skip(header: str, at: int) -> int:
    match = _SPACES.match(header, at)
    return match.end() if match else at
