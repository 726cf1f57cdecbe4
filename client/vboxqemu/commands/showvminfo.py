"""showvminfo VM [--machinereadable] [--details]"""

from __future__ import annotations

import sys

from vboxqemu import options, showinfo, store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

FLAGS = {
    "--machinereadable": "machine",
    "-machinereadable": "machine",
    "--details": "details",
    "-details": "details",
}


def run(verb: str, words: Sequence[str]) -> int:
    del verb
    positional, found = options.parse(words, {}, FLAGS)
    folder, vm = store.find(options.one(positional, "VM name"))
    write = showinfo.machine_readable if "machine" in found else showinfo.for_people
    sys.stdout.write(write(folder, vm))
    return 0
