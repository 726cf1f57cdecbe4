"""Wherry's client in this process, beside docker's own in another: what both print and return, compared."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from native_engine import NativeEngine

from wherry.cli.main import main

PATIENCE = 60.0


@dataclass(frozen=True)
class Shown:
    """What a command left behind. out and err: text."""

    status: int
    out: str
    err: str


class Clients:
    """Both clients on one engine. Wherry runs in this process, which spares an interpreter per call."""

    def __init__(
        self, engine: NativeEngine, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        self.engine = engine
        self._patch = monkeypatch
        self._capfd = capfd
        for name, value in engine.docker_environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("WHERRY_HOST", f"unix://{engine.socket}")
        monkeypatch.setenv("TZ", "UTC")

    def docker(self, *arguments: str, stdin: bytes = b"") -> Shown:
        done = subprocess.run(
            ["docker", *arguments], input=stdin, capture_output=True, timeout=PATIENCE, check=False
        )
        return Shown(done.returncode, done.stdout.decode(), done.stderr.decode())

    def wherry(self, *arguments: str, stdin: Path = Path("/dev/null")) -> Shown:
        self._patch.setattr(sys, "argv", ["wherry", *arguments])
        saved = os.dup(0)
        self._capfd.readouterr()
        try:
            with stdin.open("rb") as file:
                os.dup2(file.fileno(), 0)
            with open(0, closefd=False) as text, pytest.MonkeyPatch.context() as patch:
                patch.setattr(sys, "stdin", text)
                with pytest.raises(SystemExit) as ended:
                    main()
        finally:
            os.dup2(saved, 0)
            os.close(saved)
        out, err = self._capfd.readouterr()
        code: Any = ended.value.code
        return Shown(int(code or 0), out, err)

    def ok(self, *arguments: str) -> str:
        """Wherry's output; the command must succeed."""
        shown = self.wherry(*arguments)
        assert shown.status == 0, (arguments, shown, self.engine.log_tail())
        return shown.out.removesuffix("\n")

    def differences(self, *commands: tuple[str, ...]) -> list[tuple[tuple[str, ...], Shown, Shown]]:
        """The commands that do not show the same: (command, docker's, wherry's)."""
        found = []
        for command in commands:
            theirs, ours = self.docker(*command), self.wherry(*command)
            if _comparable(theirs) != _comparable(ours):
                found.append((command, theirs, ours))
        return found


_AGE = re.compile(r"Less than a second|About a minute|\d+ seconds?")
#: Measurements change between two calls.
_MEASURED = re.compile(r"\d+(\.\d+)?([kKMGT]i?)?B\b|\d+\.\d+%")


def _comparable(shown: Shown) -> Shown:
    """Without ages, whose width differs now and then, without padding, and with docker's name."""
    out, err = (
        re.sub(r" {2,}", "  ", _AGE.sub("N", text.replace("docker", "wherry")))
        for text in (shown.out, shown.err)
    )
    return Shown(shown.status, out, err)


def without_measurements(shown: Shown) -> Shown:
    comparable = _comparable(shown)
    return Shown(shown.status, _MEASURED.sub("M", comparable.out), comparable.err)
