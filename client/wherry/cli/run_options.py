"""The options of `run` that say what the container is; names and short forms are Docker's.

Each becomes the field of that name in engine/create.py:CreateOptions.
"""

from collections.abc import Callable
from typing import Any

import click

from wherry.cli import completing
from wherry.cli.command import content_trust, flag, refused, texts


def _text(*names: str, **attributes: Any) -> Callable[..., Any]:
    attributes.setdefault("default", "")
    return click.option(*names, **attributes)


def _number(*names: str, default: int | None = 0, **attributes: Any) -> Callable[..., Any]:
    return click.option(*names, type=int, default=default, **attributes)


_PROCESS = (
    flag("-i", "--interactive", help="Keep STDIN open even if not attached."),
    flag("-t", "--tty", help="Allocate a pseudo-TTY."),
    texts(
        "-a",
        "--attach",
        type=click.Choice(["stdin", "stdout", "stderr"], case_sensitive=False),
        help="Attach to STDIN, STDOUT or STDERR.",
    ),
    texts("-e", "--env", help="Set environment variables."),
    texts("--env-file", help="Read in a file of environment variables."),
    _text("-u", "--user", help="Username or UID (<name|uid>[:<group|gid>])."),
    _text("-w", "--workdir", help="Working directory inside the container."),
    _text("--entrypoint", default=None, help="Overwrite the default ENTRYPOINT of the image."),
    _text("-h", "--hostname", help="Container host name."),
    _text("--domainname", help="Container NIS domain name."),
    texts("-l", "--label", help="Set meta data on a container."),
    texts("--label-file", help="Read in a line delimited file of labels."),
    texts("--annotation", help="Add an annotation (passed through to the OCI runtime)."),
    _text("--stop-signal", help="Signal to stop the container."),
    _number("--stop-timeout", default=None, help="Timeout (in seconds) to stop a container."),
    flag("--init", default=None, help="Run an init that forwards signals and reaps processes."),
    flag("--rm", help="Automatically remove the container when it exits."),
    _text("--restart", default="no", help="Restart policy to apply when a container exits."),
    _text("--platform", envvar="DOCKER_DEFAULT_PLATFORM", help="Set platform."),
)

_NETWORK = (
    texts("--network", "--net", help="Connect a container to a network.", shell_complete=completing.networks),
    texts("--network-alias", "--net-alias", help="Add network-scoped alias for the container."),
    texts("-p", "--publish", help="Publish a container's port(s) to the host."),
    flag("-P", "--publish-all", help="Publish all exposed ports to random ports."),
    texts("--expose", help="Expose a port or a range of ports."),
    _text("--ip", help="IPv4 address."),
    _text("--ip6", help="IPv6 address."),
    texts("--link-local-ip", help="Container IPv4/IPv6 link-local addresses."),
    _text("--mac-address", help="Container MAC address."),
    texts("--add-host", help="Add a custom host-to-IP mapping (host:ip)."),
    texts("--dns", help="Set custom DNS servers."),
    texts("--dns-search", help="Set custom DNS search domains."),
    texts("--dns-option", "--dns-opt", help="Set DNS options."),
    texts("--link", help="Add link to another container.", shell_complete=completing.containers),
)

_FILES = (
    texts("-v", "--volume", help="Bind mount a volume."),
    texts("--mount", help="Attach a filesystem mount to the container."),
    texts("--tmpfs", help="Mount a tmpfs directory."),
    texts(
        "--volumes-from",
        help="Mount volumes from the specified container(s).",
        shell_complete=completing.containers,
    ),
    _text("--volume-driver", help="Optional volume driver for the container."),
    texts("--storage-opt", help="Storage driver options for the container."),
    flag("--read-only", help="Mount the container's root filesystem as read only."),
)

_LIMITS = (
    _text("-m", "--memory", help="Memory limit."),
    _text("--memory-swap", help="Swap limit equal to memory plus swap: -1 for unlimited swap."),
    _text("--memory-reservation", help="Memory soft limit."),
    _number("--memory-swappiness", default=-1, help="Tune container memory swappiness (0 to 100)."),
    flag("--oom-kill-disable", help="Disable OOM killer."),
    _number("--oom-score-adj", help="Tune host's OOM preferences (-1000 to 1000)."),
    _text("--cpus", help="Number of CPUs."),
    _number("-c", "--cpu-shares", help="CPU shares (relative weight)."),
    _number("--cpu-period", help="Limit CPU CFS period, in microseconds."),
    _number("--cpu-quota", help="Limit CPU CFS quota, in microseconds."),
    _text("--cpuset-cpus", help="CPUs in which to allow execution (0-3, 0,1)."),
    _text("--cpuset-mems", help="MEMs in which to allow execution (0-3, 0,1)."),
    _number("--blkio-weight", help="Block IO weight, between 10 and 1000, or 0 to disable."),
    texts("--blkio-weight-device", help="Block IO weight of a device (/dev/sda:500)."),
    texts("--device-read-bps", help="Limit read rate (bytes per second) from a device (/dev/sda:1mb)."),
    texts("--device-read-iops", help="Limit read rate (IO per second) from a device (/dev/sda:1000)."),
    texts("--device-write-bps", help="Limit write rate (bytes per second) to a device (/dev/sda:1mb)."),
    texts("--device-write-iops", help="Limit write rate (IO per second) to a device (/dev/sda:1000)."),
    _number("--cpu-rt-period", help="Limit CPU real-time period, in microseconds."),
    _number("--cpu-rt-runtime", help="Limit CPU real-time runtime, in microseconds."),
    _number("--pids-limit", help="Tune container pids limit (-1 for unlimited)."),
    _text("--shm-size", help="Size of /dev/shm."),
    texts("--ulimit", help="Ulimit options."),
    _text("--cgroup-parent", help="Optional parent cgroup for the container."),
)

_PRIVILEGES = (
    flag("--privileged", help="Give extended privileges to this container."),
    texts("--cap-add", help="Add Linux capabilities."),
    texts("--cap-drop", help="Drop Linux capabilities."),
    texts("--security-opt", help="Security options."),
    texts("--group-add", help="Add additional groups to join."),
    texts("--device", help="Add a host device to the container."),
    _text("--gpus", help="GPU devices to add to the container ('all' to pass all GPUs)."),
    texts("--device-cgroup-rule", help="Add a rule to the cgroup allowed devices list."),
    texts("--sysctl", help="Sysctl options."),
    _text("--userns", help="User namespace to use."),
    _text("--pid", help="PID namespace to use."),
    _text("--ipc", help="IPC mode to use."),
    _text("--uts", help="UTS namespace to use."),
    _text("--cgroupns", help="Cgroup namespace to use (host|private)."),
    _text("--runtime", help="Runtime to use for this container."),
)

_LOGS_AND_HEALTH = (
    _text("--log-driver", help="Logging driver for the container."),
    texts("--log-opt", help="Log driver options."),
    _text("--health-cmd", help="Command to run to check health."),
    _text("--health-interval", help="Time between running the check (ms|s|m|h)."),
    _text("--health-timeout", help="Maximum time to allow one check to run (ms|s|m|h)."),
    _text("--health-start-period", help="Start period before counting retries (ms|s|m|h)."),
    _text("--health-start-interval", help="Time between checks during the start period (ms|s|m|h)."),
    _number("--health-retries", help="Consecutive failures needed to report unhealthy."),
    flag("--no-healthcheck", help="Disable any container-specified HEALTHCHECK."),
)


_WINDOWS = "it is for Windows containers, and these are Linux"
_ELSEWHERE = (
    content_trust,
    refused("--isolation", reason=_WINDOWS, unless={"default", ""}),
    refused("--cpu-count", reason=_WINDOWS),
    refused("--cpu-percent", reason=_WINDOWS),
    refused("--io-maxbandwidth", reason=_WINDOWS),
    refused("--io-maxiops", reason=_WINDOWS),
    refused("--kernel-memory", reason="the kernel has no such limit any more; use --memory"),
    refused(
        "--use-api-socket",
        reason="mount the socket yourself if the container may rule the engine",
        switch=True,
    ),
)


def create_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Puts all of them on a command."""
    for option in reversed(
        (*_PROCESS, *_NETWORK, *_FILES, *_LIMITS, *_PRIVILEGES, *_LOGS_AND_HEALTH, *_ELSEWHERE)
    ):
        function = option(function)
    return function
