"""wherry-runc: our runtime as an OCI command with runc's verbs and options. No daemon is needed.

A verb's module is imported once its name is known: other engines ask for a state many times, and each time an
interpreter starts for it. `main` is the only function that exits.
"""

import sys

from wherryd.runtime import selfexe

# As typing has it, which is not imported before it is known that this interpreter stays: see selfexe.py.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

#: Verb -> module in wherryd.runtime.verbs, and what the help says.
VERBS = {
    "create": ("lifecycle", "create a container; its program waits for `start`"),
    "delete": ("ending", "remove what a stopped container holds"),
    "events": ("events", "statistics and out-of-memory events, as lines of JSON"),
    "exec": ("exec", "run a further process in a container"),
    "features": ("features", "what this runtime can do, as JSON"),
    "kill": ("ending", "send a signal to the first process"),
    "list": ("queries", "all containers below --root"),
    "pause": ("limits", "freeze all processes"),
    "ps": ("queries", "its processes, as the host numbers them"),
    "resume": ("limits", "thaw them"),
    "run": ("lifecycle", "create and run one"),
    "spec": ("specification", "write a config.json to begin with"),
    "start": ("lifecycle", "start a created container"),
    "state": ("queries", "the container's state as JSON"),
    "update": ("limits", "change the limits of a container"),
}
#: These bring a process into a container.
_ENTERING = frozenset({"create", "exec", "run"})
#: These start programs, a container's or its hooks.
_STARTING = _ENTERING | {"delete", "start"}


def main(arguments: "Sequence[str] | None" = None) -> None:
    given = sys.argv[1:] if arguments is None else list(arguments)
    # First of all, as it may begin anew: nothing that costs time was imported yet.
    if not _ENTERING.isdisjoint(given):
        selfexe.start_again_protected()
    import importlib

    from wherryd import later

    later.without_inspect()
    for name in ("bz2", "lzma"):  # argparse asks shutil how wide the terminal is
        later.stand_in(name)
    from wherryd.errors import EngineError
    from wherryd.runtime.verbs import options

    parsed = options.parse_global(given, VERBS)
    module = importlib.import_module(f"wherryd.runtime.verbs.{VERBS[parsed.verb][0]}")
    verb = module.VERBS[parsed.verb]
    later.seal()
    if parsed.verb in _STARTING:
        from wherryd.sys import signals

        signals.default_inherited()
    try:
        options.check_global(parsed)
        sys.exit(verb.action(options.parse_verb(parsed, verb)) or 0)
    except (EngineError, OSError) as error:
        options.report(parsed, error)
        sys.exit(_status(parsed, error))


def _status(parsed: "argparse.Namespace", error: Exception) -> int:
    """Of the program that could not be run, where the caller waits for one."""
    return getattr(error, "exit_code", 1) if parsed.verb in ("run", "exec") else 1


if __name__ == "__main__":
    main()
