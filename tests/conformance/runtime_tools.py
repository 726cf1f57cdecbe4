"""The `validation` programs of opencontainers/runtime-tools against any number of runtimes, side by side.

    python tests/conformance/runtime_tools.py BUILT --runtime wherry-runc --runtime runc --runtime crun

BUILT is a folder with what that project builds: `validation/*/*.t`, `runtimetest` and its
`rootfs-<arch>.tar.gz`. Each program speaks TAP and takes the runtime from $RUNTIME. A program passes when it
ends with 0 and says neither `not ok` nor, outside of a result, "error": some have no results and only say
what went wrong. One that only skips is counted by itself.
--oci-version 1.0.2 gives each runtime the configs with that version in place of the 1.3.0 that the programs
write: Debian's crun 1.8 refuses any config of a later one, and says nothing about itself otherwise.
Needs root. Everything runs in a mount namespace of its own, without the empty cgroup2 tree that a machine
with cgroup v1 may have beside its controllers: crun and runc would take it for the real one.
Ends with 1 when a program never passes with the first runtime and mostly does with some other one.
"""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

PROGRAM_SECONDS = 120.0
#: A program that passes elsewhere only is tried so many more times.
MORE_ROUNDS = 3
#: Set for the inner one: the folder it may use.
_INNER = "RUNTIME_TOOLS_TEMPORARY"
_RESULT = re.compile(r"^(ok|not ok)\b(.*)$", re.MULTILINE)
_ERROR = re.compile(r'"error": "[^"]+"')
_SKIP = re.compile(r"#\s*skip", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Verdict:
    """passed, failed, skipped: numbers of TAP lines. ended: the program's exit status, or "late"."""

    passed: int
    failed: int
    skipped: int
    ended: int | str
    output: str

    @property
    def word(self) -> str:
        if self.failed or self.ended != 0:
            return "FAIL"
        if self.passed:
            return "pass"
        if self.skipped:
            return "skip"
        return "FAIL" if _ERROR.search(self.output) else "pass"

    @property
    def complaint(self) -> str:
        """The first thing it says went wrong."""
        lines = [line.strip() for line in self.output.splitlines() if line.startswith("not ok")]
        lines += [each[0] for each in _ERROR.finditer(self.output)]
        rest = [line.strip() for line in self.output.splitlines() if line.strip()]
        return (lines or rest[-1:] or ["said nothing"])[0][:160]


def run(program: Path, folder: Path, runtime: str, temporary: Path) -> Verdict:
    """One program, in a session of its own that is ended when it is late."""
    environment = {**os.environ, "RUNTIME": runtime, "TMPDIR": str(temporary)}
    with subprocess.Popen(
        [str(program)],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=PROGRAM_SECONDS)
            ended: int | str = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            output, ended = process.communicate()[0], "late"
    return verdict(output, ended)


_AS_OLDER = """#!/bin/sh
bundle=. before=
for each in "$@"; do [ "$before" = --bundle ] && bundle=$each; before=$each; done
case " $* " in
*" create "*) sed -i 's/"ociVersion": *"1.3.0"/"ociVersion": "{version}"/' "$bundle/config.json" ;;
esac
exec {program} "$@"
"""


def with_version(runtime: str, version: str, folder: Path) -> str:
    """The path of a command that is the runtime, and has the configs say that version."""
    path = folder / Path(runtime).name
    program = shlex.quote(str(Path(shutil.which(runtime) or runtime).absolute()))
    path.write_text(_AS_OLDER.format(version=version, program=program))
    path.chmod(0o755)
    return str(path)


def verdict(output: str, ended: int | str) -> Verdict:
    """Reads TAP. Source: testanything.org, version 13."""
    passed = failed = skipped = 0
    for word, rest in _RESULT.findall(output):
        if word == "not ok":
            failed += 1
        elif _SKIP.search(rest):
            skipped += 1
        else:
            passed += 1
    return Verdict(passed, failed, skipped, ended, output)


def programs(built: Path, wanted: Sequence[str]) -> list[Path]:
    found = sorted(built.glob("validation/*/*.t")) + sorted(built.glob("validation/*.t"))
    if not found:
        raise SystemExit(
            f"{built} has no validation/*/*.t: build the programs of runtime-tools into it first"
        )
    return [each for each in found if not wanted or each.stem in wanted]


def table(names: Sequence[str], runtimes: Sequence[str], results: dict[tuple[str, str], Verdict]) -> str:
    """Markdown, and below it what each failure of the first runtime said."""
    heads = [Path(runtime).name for runtime in runtimes]
    lines = ["| program | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for name in names:
        cells = []
        for runtime in runtimes:
            result = results[name, runtime]
            cells.append(f"{result.word} {result.passed}/{result.passed + result.failed}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    totals = [sum(results[name, runtime].word == "pass" for name in names) for runtime in runtimes]
    lines.append("| **pass** | " + " | ".join(f"**{total} of {len(names)}**" for total in totals) + " |")
    return "\n".join(lines)


Again = Callable[[str, str], Verdict]


def lost(names: Sequence[str], runtimes: Sequence[str], results: dict[tuple[str, str], Verdict]) -> list[str]:
    """Programs that pass with another runtime and not with the first."""
    ours, *others = runtimes
    return [
        name
        for name in names
        if results[name, ours].word != "pass" and any(results[name, other].word == "pass" for other in others)
    ]


def tried_again(
    names: Sequence[str], runtimes: Sequence[str], results: dict[tuple[str, str], Verdict], again: Again
) -> dict[str, list[int]]:
    """Program that passes elsewhere only -> how often it passes with each runtime in so many rounds.

    Some race with the container's own end: pidfile passes only when `true` is still there two commands after
    its start, whoever has started it.
    """
    tallies = {}
    for name in lost(names, runtimes, results):
        passed = [int(results[name, runtime].word == "pass") for runtime in runtimes]
        for _ in range(MORE_ROUNDS):
            for number, runtime in enumerate(runtimes):
                passed[number] += again(name, runtime).word == "pass"
        tallies[name] = passed
    return tallies


def confirmed(tallies: dict[str, list[int]]) -> list[str]:
    """Those that never pass with the first, and mostly do with another."""
    half = (1 + MORE_ROUNDS) / 2
    return [name for name, (ours, *others) in tallies.items() if not ours and max(others) > half]


def alone() -> int:
    """Starts this script again in a mount namespace of its own, with a folder for everything it makes.

    The folder is removed from out here: a container without a mount namespace leaves /proc and /sys mounted
    inside it, which are not seen here and must never be walked into.
    """
    inner = 'umount /sys/fs/cgroup/unified 2>/dev/null || true; exec "$@"'
    with tempfile.TemporaryDirectory(prefix="runtime-tools-") as temporary:
        return subprocess.run(
            ["unshare", "-m", "sh", "-c", inner, "-", sys.executable, *sys.orig_argv[1:]],
            env={**os.environ, _INNER: temporary},
            check=False,
        ).returncode


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("built", type=Path)
    parser.add_argument("--runtime", action="append", required=True, metavar="PROGRAM")
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--oci-version", metavar="VERSION", help="what the configs say, such as 1.0.2")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="keep what each program said here")
    options = parser.parse_args()
    missing = [each for each in options.runtime if shutil.which(each) is None]
    if missing:
        raise SystemExit(f"no such program: {', '.join(missing)}")
    temporary = os.environ.pop(_INNER, "")
    if not temporary:
        sys.exit(alone())
    found = programs(options.built.absolute(), options.only)
    commands = {each: each for each in options.runtime}
    if options.oci_version:
        commands = {each: with_version(each, options.oci_version, Path(temporary)) for each in commands}

    named = {program.stem: program for program in found}

    def one(name: str, runtime: str) -> Verdict:
        return run(named[name], options.built.absolute(), commands[runtime], Path(temporary))

    names = list(named)
    tasks = [(name, runtime) for name in names for runtime in options.runtime]
    with ThreadPoolExecutor(options.jobs) as pool:
        results = dict(zip(tasks, pool.map(lambda task: one(*task), tasks), strict=True))
    if options.output is not None:
        for (name, runtime), result in results.items():
            folder = options.output / Path(runtime).name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}.tap").write_text(result.output)
    say(table(names, options.runtime, results))
    for name in names:
        first = results[name, options.runtime[0]]
        if first.word == "FAIL":
            say(f"{name}: ended with {first.ended}: {first.complaint}")
    tallies = tried_again(names, options.runtime, results, one)
    for name, passed in tallies.items():
        counts = (f"{Path(each).name} {number}" for each, number in zip(options.runtime, passed, strict=True))
        say(f"{name}: passes in {1 + MORE_ROUNDS} rounds: {', '.join(counts)}")
    worse = confirmed(tallies)
    if worse:
        say(f"passes elsewhere, not with {options.runtime[0]}: {', '.join(worse)}")
    raise SystemExit(bool(worse))


if __name__ == "__main__":
    main()
