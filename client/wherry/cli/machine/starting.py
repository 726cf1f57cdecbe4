"""Starting a machine with progress; `start`, `restart` and `init --start` do the same."""

import time
from typing import Any

import click

from wherry.agent import bringup
from wherry.agent.bringup import Started
from wherry.cli.machine.common import option_for, show_json
from wherry.cli.machine.progress import Progress, stage_report
from wherry.errors import MachineProblem
from wherry.machine.store import Machine


def start_machine(machine: Machine, *, timeout: float | None, as_json: bool, timings: bool) -> None:
    """Starts and says so. Raises MachineProblem; what the guest said last is shown before that."""
    began = time.monotonic()
    limit = timeout if timeout is not None else bringup.limit_for(machine)
    try:
        with Progress(quiet=as_json) as progress:
            started = bringup.bring_up(machine, limit_seconds=limit, report=stage_report(progress))
    except MachineProblem as exc:
        show_tail(exc, option_for(machine.name))
        raise
    total = time.monotonic() - began
    if as_json:
        show_json(_document(machine, started, total))
        return
    if started.already:
        click.echo(f'machine "{machine.name}" is already running')
        return
    word = "resumed" if started.resumed else "started"
    click.echo(f'machine "{machine.name}" {word} in {total:.1f} s; engine at {machine.files.endpoint}')
    if timings:
        for stage in started.stages:
            click.echo(f"{stage.stage:<12} {stage.seconds:8.3f} s")
        click.echo(f"{'total':<12} {total:8.3f} s")


def show_tail(problem: MachineProblem, option: str) -> None:
    if problem.log_tail:
        click.echo(f"--- the last lines (all: wherry machine logs{option}) ---", err=True)
        click.echo(problem.log_tail, err=True)
        click.echo("---", err=True)


def _document(machine: Machine, started: Started, total: float) -> dict[str, Any]:
    return {
        "name": machine.name,
        "already_running": started.already,
        "resumed": started.resumed,
        "endpoint": machine.files.endpoint,
        "seconds": {stage.stage: round(stage.seconds, 3) for stage in started.stages},
        "total_seconds": round(total, 3),
    }
