"""VBoxManage's progress line on stderr: 0%...10%...20%..."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType


class Progress:
    """`with Progress() as at: at(40)`. Ends at 100% when the block succeeds; an error breaks the line off."""

    def __init__(self) -> None:
        self._done = 0

    def __enter__(self) -> Progress:
        sys.stderr.write("0%...")
        sys.stderr.flush()
        return self

    def __call__(self, percent: int) -> None:
        """Prints all tens up to percent that are not printed yet."""
        while self._done + 10 <= min(percent, 90):
            self._done += 10
            sys.stderr.write(f"{self._done}%...")
        sys.stderr.flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self(90)
            sys.stderr.write("100%\n")
        else:
            sys.stderr.write("\nProgress state: VBOX_E_FAIL\n")
        sys.stderr.flush()
