"""Starting and ending the agent's process."""

import contextlib
import json
import os
import subprocess
import sys
import time

from wherry.agent import control
from wherry.agent.events import rotate
from wherry.errors import MachineProblem
from wherry.host import end_process, spawn_detached
from wherry.machine.guard import is_held
from wherry.machine.store import Machine
from wherry.paths import MachinePaths, paths

#: An agent ends within a second; one that hangs is killed after this.
END_SECONDS = 10.0
POLL_SECONDS = 0.03
MAX_LOG_BYTES = 1024 * 1024


def is_alive(files: MachinePaths) -> bool:
    """Whether an agent serves the machine: it holds its lock as long as it lives."""
    return is_held(files.agent_lock)


def spawn(machine: Machine, *, resumed: bool) -> "subprocess.Popen[bytes]":
    """Starts the agent. The caller holds the machine's lock and knows that no agent is alive."""
    files = machine.files
    rotate(files.events)
    if files.agent_log.exists() and files.agent_log.stat().st_size > MAX_LOG_BYTES:
        files.agent_log.replace(files.agent_log.with_name("agent.log.1"))
    # -P: the folder it is started from must not shadow our modules.
    argv = [sys.executable, "-P", "-m", "wherry", "agent", "--name", machine.name]
    if resumed:
        argv.append("--resumed")
    return spawn_detached(argv, log=files.agent_log, env=_environment())


def _environment() -> dict[str, str]:
    """Ours, with folders that do not depend on where the agent is started."""
    env = dict(os.environ)
    if env.get("WHERRY_HOME"):
        places = paths()
        env["WHERRY_HOME"] = str(places.data)
        env["WHERRY_CACHE"] = str(places.cache)
    return env


def stop(files: MachinePaths) -> None:
    """Ends the agent, if there is one, and waits until it has. Raises MachineProblem if it cannot."""
    if not is_alive(files):
        _sweep(files)
        return
    with contextlib.suppress(MachineProblem):  # it hangs: the wait below ends in the kill
        control.ask(files, {"do": "stop"})
    if _wait_gone(files, END_SECONDS):
        return
    try:
        pid = int(json.loads(files.agent_state.read_text(encoding="utf-8"))["pid"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        pid = 0
    if pid > 0:
        end_process(pid)
    if not _wait_gone(files, END_SECONDS):
        raise MachineProblem(f'the agent of "{files.name}" does not end; see {files.agent_log}')
    _sweep(files)


def _wait_gone(files: MachinePaths, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while is_alive(files):
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _sweep(files: MachinePaths) -> None:
    """What a killed agent left: its sockets would look like a running machine's."""
    for path in (files.socket, files.control, files.agent_state):
        path.unlink(missing_ok=True)
