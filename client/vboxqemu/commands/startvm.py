"""startvm VM... [--type headless|gui|separate]"""

from __future__ import annotations

import sys

from vboxqemu import launch, options, store
from vboxqemu.errors import Syntax

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

#: All of them run without a window here.
TYPES = frozenset({"headless", "gui", "sdl", "separate"})


def run(verb: str, words: Sequence[str]) -> int:
    del verb
    positional, found = options.parse(words, {"--type": "type", "-type": "type"})
    if found.get("type", "headless") not in TYPES:
        raise Syntax(f"Invalid frontend '{found['type']}'")
    if not positional:
        raise Syntax("at least one VM name or uuid required")
    for word in positional:
        folder, vm = store.find(word)
        with store.locked(folder, vm["name"]):
            vm = store.load(folder) or vm
            sys.stdout.write(f'Waiting for VM "{vm["name"]}" to power on...\n')
            sys.stdout.flush()
            launch.start(folder, vm)
            store.touch(folder)
        sys.stdout.write(f'VM "{vm["name"]}" has been successfully started.\n')
    return 0
