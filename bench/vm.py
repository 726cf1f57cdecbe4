"""A real machine for measurements: the client's own commands, on a home folder of their own."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wherry.paths import paths


class Machine:
    """The client's own commands, on a home folder of their own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._wherry = str(Path(sys.executable).parent / "wherry")
        self._environment = {**os.environ, "WHERRY_HOME": str(home), "WHERRY_CACHE": str(paths().cache)}
        for name in ("WHERRY_HOST", "DOCKER_HOST"):
            self._environment.pop(name, None)

    def wherry(self, *arguments: str) -> str:
        """Runs `wherry ARGUMENTS`; gives its output. Raises CalledProcessError."""
        done = subprocess.run(
            [self._wherry, *arguments],
            env=self._environment,
            check=True,
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        return done.stdout

    def start(self) -> dict[str, Any]:
        """`wherry machine start`: seconds per stage, and in all."""
        document: dict[str, Any] = json.loads(self.wherry("machine", "start", "--json"))
        return document

    def state(self) -> str:
        return self.wherry("machine", "status")

    def inspect(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.wherry("machine", "inspect"))
        return document


@contextmanager
def machine() -> Iterator[Machine]:
    """A new machine, stopped; removed at the end whatever happened."""
    # A short path: the machine's socket lies below it, and such a path may hold 103 bytes.
    with tempfile.TemporaryDirectory(prefix="wb-", dir="/tmp") as folder:
        made = Machine(Path(folder))
        try:
            yield made
        except BaseException as exc:
            try:
                made.wherry("machine", "rm", "--force")
            except subprocess.CalledProcessError as second:
                exc.add_note(f"and the machine below {folder} could not be removed: {second}")
            raise
        made.wherry("machine", "rm", "--force")
