"""Draws docs/lifecycle.md from the table of states: `python scripts/lifecycle.py` after a change of it.

python scripts/lifecycle.py --check    # tells by its exit status whether the page is current
"""

import sys
from pathlib import Path

from wherryd.containers.state import TRANSITIONS, Event, Status

PAGE = Path(__file__).parents[1] / "docs/lifecycle.md"

#: What makes each event happen, for readers of the page.
CAUSES = {
    Event.START: "`start`, `restart`, `run`; the restart policy, also of an engine that starts",
    Event.START_FAILED: "the program cannot be run, a port is taken, a mount's source is missing",
    Event.DIE: "its first process ended: by itself, `stop`, `kill`, `restart`, `rm -f`, the OOM killer",
    Event.DIE_TO_RESTART: "the same, with a restart policy that starts it again: after 0.1 s, doubled each "
    "time up to a minute; after 0.1 s anew once it has lived for 10 s",
    Event.GIVE_UP: "`stop` or `kill` between two starts, or the policy's last retry",
    Event.PAUSE: "`pause`, `commit` for as long as it reads",
    Event.UNPAUSE: "`unpause`; a signal that a frozen process could not receive",
    Event.REMOVE: "`rm`, `--rm`, `container prune`",
    Event.REMOVE_FAILED: "its files could not be removed; the next `rm` tries again",
}


def page() -> str:
    lines = [
        "# The life of a container",
        "",
        "Made by `scripts/lifecycle.py` from the table in `guest/wherryd/containers/state.py`, which the",
        "engine itself goes by: what is no arrow here is refused as a conflict.",
        "",
        "```mermaid",
        "stateDiagram-v2",
        f"    [*] --> {Status.CREATED}: create",
    ]
    for status, row in TRANSITIONS.items():
        arrows: dict[Status, list[str]] = {}
        for event, following in row.items():
            arrows.setdefault(following, []).append(str(event))
        for other, events in arrows.items():
            lines.append(f"    {status} --> {other}: {' / '.join(events)}")
    lines += [
        f"    {Status.REMOVING} --> [*]: its files are gone",
        "```",
        "",
        "| event | when |",
        "|---|---|",
    ]
    lines += [f"| {event} | {CAUSES[event]} |" for event in Event]
    lines += ["", "| state | " + " | ".join(Event) + " |", "|---" * (len(Event) + 1) + "|"]
    for status, row in TRANSITIONS.items():
        lines.append(f"| **{status}** | " + " | ".join(row.get(event, "") for event in Event) + " |")
    return "\n".join(lines) + "\n"


def main() -> int:
    if "--check" in sys.argv[1:]:
        return 0 if PAGE.exists() and PAGE.read_text() == page() else 1
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
