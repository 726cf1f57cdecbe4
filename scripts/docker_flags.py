"""`docker VERB --help` -> tests/unit/docker_flags.json: the flags of every verb of docker's own client.

    python scripts/docker_flags.py > tests/unit/docker_flags.json

The unit tests compare Wherry's verbs with that file, so that they need no docker. Facts only: names, short
forms, and the kind of value ("" for a switch).
"""

import json
import os
import re
import subprocess
import sys

_COMMANDS = re.compile(r"^(?:[A-Z][a-z]+ )?Commands:\n((?:  .*\n)+)", re.MULTILINE)
_OPTIONS = re.compile(r"^(?:Global )?Options:\n((?:.*\n)*?)(?:\n|\Z)", re.MULTILINE)
_FLAG = re.compile(r"\s+(?:(-\w), )?(--[\w-]+)(?: ([\w-]+))?(?:\s{2,}|$)")

Flags = dict[str, list[str]]


def help_of(words: tuple[str, ...]) -> str:
    # Plug-ins of this machine's user, and BuildKit's in the place of `build`, are not docker's own client.
    environ = {**os.environ, "DOCKER_CONFIG": "/nonexistent", "DOCKER_BUILDKIT": "0"}
    done = subprocess.run(
        ["docker", *words, "--help"], capture_output=True, text=True, env=environ, check=True, timeout=60
    )
    return done.stdout


def verbs(text: str) -> list[str]:
    return [line.split()[0].rstrip("*") for block in _COMMANDS.findall(text) for line in block.splitlines()]


def flags(text: str) -> Flags:
    found = _OPTIONS.search(text)
    lines = map(_FLAG.match, found[1].splitlines() if found else ())
    return {flag[2]: [flag[1] or "", flag[3] or ""] for flag in lines if flag}


def walk(words: tuple[str, ...], table: dict[str, Flags]) -> dict[str, Flags]:
    text = help_of(words)
    table[" ".join(words)] = flags(text)
    for verb in verbs(text):
        walk((*words, verb), table)
    return table


if __name__ == "__main__":
    json.dump(walk((), {}), sys.stdout, indent=1, sort_keys=True)
    print()
