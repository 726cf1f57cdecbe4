"""Makes docs/compatibility.md, by asking a running wherryd: each endpoint, and each of docker's commands.

    scripts/compatibility.py [--check]     # --check writes nothing, and fails when the page is not current

An operation or command *works* when a request that has to succeed does; what is refused is told in the
engine's own words. What differs from dockerd is written down in compat/. For `wherry` the page compares what
`docker COMMAND --help` offers with the command's own options. Needs root, busybox-static, docker-registry,
the API's description (WHERRY_SHARED) and docker 28.2; without that client the commands' part stays as it is.
"""

import argparse
import difflib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / part) for part in ("scripts", "tests", "tests/guest", "tests/conformance")]

import click  # noqa: E402
import swagger  # noqa: E402
from compat import commands, endpoints  # noqa: E402
from compat.scene import Scene, scene  # noqa: E402

from wherry.cli.main import wherry  # noqa: E402
from wherryd.containers import fields  # noqa: E402

PAGE = ROOT / "docs/compatibility.md"
WORKS, DIFFERS, ABSENT, ALONE = "works", "differs", "not there", "not on one host"
_NO_PLUGIN = 'plugin "none" not found'
_SWARM = ("no swarm mode", "not part of a swarm")
HEAD = """# Compatibility

Made by `scripts/compatibility.py`, which asks a running engine; a test proves that it is current. Each
operation was called once with what has to succeed: that is what "works" says. Other tests say more:
docker-py's own suite, docker-compose, Testcontainers and schemathesis (tests/conformance).

**works**; **differs**: works, but for what is said; **not there**: refused by name; **not on one host**:
belongs to a swarm, and is answered as by an engine outside of one.
"""


def table(rows: list[list[str]]) -> str:
    heads, *cells = rows
    lines = [heads, ["---"] * len(heads), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def api_part(made: Scene) -> str:
    """The table of operations. Raises SystemExit for one that neither succeeds nor is refused by name."""
    labels = list(swagger.description("1.51").operations())
    unknown = set(endpoints.ASKS) - set(labels)
    if unknown:
        raise SystemExit(f"not in the description: {', '.join(sorted(unknown))}")
    found = {}
    for label in endpoints.in_order(labels):
        wanted = endpoints.ASKS.get(label, endpoints.Ask())
        answer = made.ask(label, wanted)
        if answer.status < 400:
            state, remark = DIFFERS if wanted.remark else WORKS, wanted.remark
        elif any(words in answer.message for words in _SWARM):
            state, remark = ALONE, ""
        elif answer.status == 501 or answer.message == _NO_PLUGIN:
            state, remark = ABSENT, answer.message
        else:
            raise SystemExit(f"{label}: {answer.status}: {answer.message}")
        found[label] = [f"`{label}`", state, _escaped(remark)]
    rows = [found[label] for label in labels]
    return "## The Engine API 1.51\n\n" + _counted(rows) + table([["operation", "state", "remark"], *rows])


def _counted(rows: list[list[str]]) -> str:
    parts = [f"{sum(row[1] == state for row in rows)} {state}" for state in (WORKS, DIFFERS, ABSENT, ALONE)]
    return f"{len(rows)}: {', '.join(parts)}.\n\n"


def fields_part() -> str:
    """What a create request may say that is not carried out, from the engine's own tables."""
    rows = [["field", "", "the engine says"]]
    for place, table_ in (("Config", fields.CONFIG), ("HostConfig", fields.HOST_CONFIG)):
        for name, field in table_.items():
            if field.verdict is not fields.Verdict.CARRIED_OUT:
                rows.append([f"`{place}.{name}`", field.verdict.value, _escaped(field.sentence)])
    return (
        "## Fields of `POST /containers/create` that are not carried out\n\n"
        "Refused by name, or taken with a warning; never dropped.\n\n" + table(rows)
    )


def commands_part(made: Scene) -> str:
    rows = []
    for name, call in commands.CALLS.items():
        status, said = made.docker(call)
        if status and not (name.endswith("attach") and status in (137, 143)):
            raise SystemExit(f"docker {' '.join(call)}: {status}: {said}")
        remark = commands.REMARKS.get(name, "")
        rows.append([f"`{name}`", DIFFERS if remark else WORKS, *_ours(name), _escaped(remark)])
    rows += [[f"`{group}`", ABSENT, ABSENT, remark] for group, remark in commands.ABSENT.items()]
    rows += [[f"`{group}`", WORKS, *_ours(group), remark] for group, remark in commands.CLIENT_ONLY.items()]
    rows += [[f"`{group}`", ALONE, ALONE, ""] for group in commands.SWARM]
    left_out = _commands_of_docker() - {row[0].strip("`") for row in rows}
    if left_out:
        raise SystemExit(f"docker has commands that compat/commands.py does not know: {sorted(left_out)}")
    heads = ["command", "`docker` with wherryd", "`wherry`", "remark"]
    return (
        f"## docker's commands ({commands.VERSION})\n\n"
        "`wherry` has no options for Windows containers, cluster volumes and signed names; others that it "
        "does not have are named.\n\n" + table([heads, *rows])
    )


def _commands_of_docker() -> set[str]:
    """As CALLS has them; of groups that are told of as a whole, their names."""
    whole = {*commands.ABSENT, *commands.CLIENT_ONLY, *commands.SWARM}
    found = set()
    for name in _listed():
        inner = [] if name in whole else _listed(name)
        found |= {f"{name} {each}" for each in inner} or {name}
    return found


def _listed(*group: str) -> list[str]:
    """The names under "Commands:" in docker's help."""
    names, listed = [], False
    for line in _help(*group).splitlines():
        listed = line.endswith("Commands:") or (listed and bool(line.strip()))
        if listed and line.startswith("  "):
            names.append(line.split()[0].rstrip("*"))
    return names


def _help(*words: str) -> str:
    done = subprocess.run(["docker", *words, "--help"], stdout=subprocess.PIPE, check=True, text=True)
    return done.stdout


def _ours(name: str) -> list[str]:
    """[what is to be said of the same command of wherry]."""
    found: Any = wherry
    for word in name.split():
        context = click.Context(found)
        found = found.get_command(context, word) if isinstance(found, click.Group) else None
        if found is None:
            return [ABSENT]
    theirs = set(re.findall(r"^ +(?:-\w, )?--([a-z0-9-]+)", _help(*name.split()), re.MULTILINE)) - {"help"}
    theirs -= commands.ELSEWHERE | (commands.CLUSTER_VOLUMES if name == "volume create" else set())
    own = {option.lstrip("-") for each in found.params for option in (*each.opts, *each.secondary_opts)}
    missing = sorted(theirs - own)
    return [f"without {', '.join(f'`--{each}`' for each in missing)}" if missing else WORKS]


def _has_the_client() -> bool:
    try:
        done = subprocess.run(["docker", "--version"], stdout=subprocess.PIPE, check=False, text=True)
    except FileNotFoundError:
        return False
    return f"version {commands.VERSION}." in done.stdout


def make(before: str) -> str:
    """The page. before: what it was, for the part that cannot be made here."""
    with scene() as made:
        parts = [HEAD, api_part(made), fields_part()]
        if _has_the_client():
            parts.append(commands_part(made))
        else:
            parts.append(before[before.index("## docker's commands") :])
    return "\n".join(parts)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the page is old")
    wanted = parser.parse_args()
    before = PAGE.read_text() if PAGE.exists() else ""
    after = make(before)
    if not wanted.check:
        PAGE.write_text(after)
        return 0
    changes = difflib.unified_diff(before.splitlines(), after.splitlines(), "the page", "the engine", n=0)
    sys.stdout.write("\n".join(changes))
    return int(before != after)


if __name__ == "__main__":
    sys.exit(main())
