"""`wherry update`: limits and the restart policy of containers that are there already."""

from collections.abc import Callable
from typing import Any

import click

from wherry.cli import completing
from wherry.cli.command import each, engine, verb
from wherry.errors import UsageProblem


def _number(*names: str, help: str) -> Callable[..., Any]:  # noqa: A002 - click's name
    return click.option(*names, type=int, help=help)


@verb("update")
@_number("--blkio-weight", help="Block IO (relative weight), between 10 and 1000, or 0 to disable.")
@_number("--cpu-period", help="Limit CPU CFS period, in microseconds.")
@_number("--cpu-quota", help="Limit CPU CFS quota, in microseconds.")
@_number("--cpu-rt-period", help="Limit the CPU real-time period, in microseconds.")
@_number("--cpu-rt-runtime", help="Limit the CPU real-time runtime, in microseconds.")
@_number("-c", "--cpu-shares", help="CPU shares (relative weight).")
@click.option("--cpus", help="Number of CPUs.")
@click.option("--cpuset-cpus", help="CPUs in which to allow execution (0-3, 0,1).")
@click.option("--cpuset-mems", help="MEMs in which to allow execution (0-3, 0,1).")
@click.option("-m", "--memory", help="Memory limit.")
@click.option("--memory-reservation", help="Memory soft limit.")
@click.option("--memory-swap", help="Swap limit equal to memory plus swap: -1 for unlimited swap.")
@_number("--pids-limit", help="Tune container pids limit (-1 for unlimited).")
@click.option("--restart", help="Restart policy to apply when a container exits.")
@click.argument(
    "containers", nargs=-1, required=True, metavar="CONTAINER...", shell_complete=completing.containers
)
@click.pass_context
def update(ctx: click.Context, /, containers: tuple[str, ...], **given: Any) -> int:
    """Update configuration of one or more containers."""
    from wherry.engine.client import segment

    if all(value is None for value in given.values()):
        raise UsageProblem("you must provide one or more flags when using this command; see --help")
    document = body(given)
    client = engine(ctx)
    warnings: list[str] = []

    def one(name: str) -> None:
        answer = client.post(f"/containers/{segment(name)}/update", body=document) or {}
        warnings.extend(answer.get("Warnings") or [])

    status = each(containers, one)
    for warning in warnings:
        click.echo(warning)
    return status


#: Option -> field of the request, where the number goes as it is. Source: Engine API, ContainerUpdate.
_PLAIN = {
    "blkio_weight": "BlkioWeight",
    "cpu_period": "CpuPeriod",
    "cpu_quota": "CpuQuota",
    "cpu_rt_period": "CpuRealtimePeriod",
    "cpu_rt_runtime": "CpuRealtimeRuntime",
    "cpu_shares": "CpuShares",
    "cpuset_cpus": "CpusetCpus",
    "cpuset_mems": "CpusetMems",
    "pids_limit": "PidsLimit",
}


def body(given: dict[str, Any]) -> dict[str, Any]:
    """Options (None: not given) -> what the engine is asked for. Raises UsageProblem."""
    from wherry.engine.parse import values

    made = {field: given[name] for name, field in _PLAIN.items() if given[name] is not None}
    if given["cpus"] is not None:
        made["NanoCpus"] = values.nano_cpus(given["cpus"])
    if given["memory"] is not None:
        made["Memory"] = values.size(given["memory"], "--memory")
    if given["memory_reservation"] is not None:
        made["MemoryReservation"] = values.size(given["memory_reservation"], "--memory-reservation")
    if given["memory_swap"] is not None:
        made["MemorySwap"] = values.swap_size(given["memory_swap"])
    if given["restart"] is not None:
        made["RestartPolicy"] = values.restart_policy(given["restart"])
    return made
