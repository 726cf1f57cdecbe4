"""What `run` was asked for -> the body of POST /containers/create. One door in: CreateOptions.

Only what was asked for is sent; the engine's defaults stay the engine's. Source: Engine API,
ContainerCreate (v1.51).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wherry.engine.parse import devices, environment, mounts, network, ports, security, values
from wherry.errors import UsageProblem

Texts = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateOptions:
    """The options as written, one field each; "" and () are "not given". Sizes and times are unparsed."""

    image: str
    command: Texts = ()
    # process
    interactive: bool = False
    tty: bool = False
    detach: bool = False
    attach: Texts = ()
    env: Texts = ()
    env_file: Texts = ()
    user: str = ""
    workdir: str = ""
    entrypoint: str | None = None
    hostname: str = ""
    domainname: str = ""
    label: Texts = ()
    label_file: Texts = ()
    annotation: Texts = ()
    stop_signal: str = ""
    stop_timeout: int | None = None
    init: bool | None = None
    # life
    rm: bool = False
    restart: str = "no"
    platform: str = ""
    # network
    network: Texts = ()
    network_alias: Texts = ()
    publish: Texts = ()
    publish_all: bool = False
    expose: Texts = ()
    ip: str = ""
    ip6: str = ""
    link_local_ip: Texts = ()
    mac_address: str = ""
    add_host: Texts = ()
    dns: Texts = ()
    dns_search: Texts = ()
    dns_option: Texts = ()
    link: Texts = ()
    # files
    volume: Texts = ()
    mount: Texts = ()
    tmpfs: Texts = ()
    volumes_from: Texts = ()
    volume_driver: str = ""
    storage_opt: Texts = ()
    read_only: bool = False
    # limits
    memory: str = ""
    memory_swap: str = ""
    memory_reservation: str = ""
    memory_swappiness: int = -1
    oom_kill_disable: bool = False
    oom_score_adj: int = 0
    cpus: str = ""
    cpu_shares: int = 0
    cpu_period: int = 0
    cpu_quota: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    blkio_weight: int = 0
    blkio_weight_device: Texts = ()
    device_read_bps: Texts = ()
    device_write_bps: Texts = ()
    device_read_iops: Texts = ()
    device_write_iops: Texts = ()
    cpu_rt_period: int = 0
    cpu_rt_runtime: int = 0
    pids_limit: int = 0
    shm_size: str = ""
    ulimit: Texts = ()
    cgroup_parent: str = ""
    # privileges and namespaces
    privileged: bool = False
    cap_add: Texts = ()
    cap_drop: Texts = ()
    security_opt: Texts = ()
    group_add: Texts = ()
    device: Texts = ()
    gpus: str = ""
    device_cgroup_rule: Texts = ()
    sysctl: Texts = ()
    userns: str = ""
    pid: str = ""
    ipc: str = ""
    uts: str = ""
    cgroupns: str = ""
    runtime: str = ""
    # logs and health
    log_driver: str = ""
    log_opt: Texts = ()
    health_cmd: str = ""
    health_interval: str = ""
    health_timeout: str = ""
    health_start_period: str = ""
    health_start_interval: str = ""
    health_retries: int = 0
    no_healthcheck: bool = False

    @property
    def streams(self) -> tuple[bool, bool, bool]:
        """Which of stdin, stdout and stderr the client attaches to."""
        if self.detach:
            return False, False, False
        wanted = {stream.lower() for stream in self.attach}
        stdin = self.interactive or "stdin" in wanted
        return stdin, not wanted or "stdout" in wanted, not wanted or "stderr" in wanted


def body(
    options: CreateOptions,
    *,
    environ: Mapping[str, str],
    cwd: Path,
    console_size: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """The JSON body. environ and cwd: for bare `-e NAME` and `-v ./dir`. console_size: (height, width).

    Raises UsageProblem for the first option that cannot be.
    """
    published = ports.publish(options.publish)
    binds, anonymous = mounts.volumes(options.volume, cwd)
    config = _config(options, environ)
    exposed = dict.fromkeys([port.key for port in published] + list(ports.expose(options.expose)))
    config["ExposedPorts"] = {key: {} for key in exposed}
    config["Volumes"] = anonymous
    networks = network.attachments(
        options.network,
        aliases=options.network_alias,
        ip=options.ip,
        ip6=options.ip6,
        mac=options.mac_address,
        link_local=options.link_local_ip,
    )
    host = _life(options) | _limits(options) | _privileges(options) | _host_network(options)
    host |= {
        "Binds": binds,
        "Mounts": [mounts.mount(spec, cwd) for spec in options.mount],
        "Tmpfs": mounts.tmpfs(options.tmpfs),
        "PortBindings": _bindings(published),
        "NetworkMode": networks[0].target,
    }
    if console_size and options.tty:
        host["ConsoleSize"] = list(console_size)
    made = _given(config) | {"HostConfig": _given(host) | _always(options)}
    endpoints = {joined.target: joined.settings() for joined in networks}
    if len(networks) > 1 or any(endpoints.values()):
        made["NetworkingConfig"] = {"EndpointsConfig": endpoints}
    return made


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Without what was not asked for."""
    return {key: value for key, value in fields.items() if value not in (None, "", 0, False, [], {})}


def _always(options: CreateOptions) -> dict[str, Any]:
    """Fields where an empty value says something."""
    made: dict[str, Any] = {"RestartPolicy": values.restart_policy(options.restart)}
    if security.security(options.security_opt).unmasked:
        made |= {"MaskedPaths": [], "ReadonlyPaths": []}
    if options.init is not None:
        made["Init"] = options.init
    if options.memory_swappiness != -1:
        made["MemorySwappiness"] = options.memory_swappiness
    return made


def _config(options: CreateOptions, environ: Mapping[str, str]) -> dict[str, Any]:
    stdin, stdout, stderr = options.streams
    entrypoint: list[str] | None = None
    if options.entrypoint is not None:
        # `--entrypoint=` alone takes the image's away: on the wire that is one empty string.
        entrypoint = [options.entrypoint]
    return {
        "Image": options.image,
        "Cmd": list(options.command),
        "Entrypoint": entrypoint,
        "Env": environment.environment(options.env_file, options.env, environ),
        "Labels": environment.labels(options.label_file, options.label),
        "AttachStdin": stdin,
        "AttachStdout": stdout,
        "AttachStderr": stderr,
        "OpenStdin": options.interactive,
        "StdinOnce": options.interactive and stdin,
        "Tty": options.tty,
        "User": options.user,
        "WorkingDir": options.workdir,
        "Hostname": options.hostname,
        "Domainname": options.domainname,
        "MacAddress": options.mac_address,
        "StopSignal": options.stop_signal,
        "StopTimeout": options.stop_timeout,
        "Healthcheck": _health(options),
    }


def _health(options: CreateOptions) -> dict[str, Any]:
    times = {
        "Interval": (options.health_interval, "--health-interval"),
        "Timeout": (options.health_timeout, "--health-timeout"),
        "StartPeriod": (options.health_start_period, "--health-start-period"),
        "StartInterval": (options.health_start_interval, "--health-start-interval"),
    }
    made: dict[str, Any] = {
        key: values.duration(text, option) for key, (text, option) in times.items() if text
    }
    for key, nanoseconds in made.items():
        if nanoseconds < 0:
            raise UsageProblem(f"{times[key][1]} cannot be negative")
    if options.health_retries < 0:
        raise UsageProblem("--health-retries cannot be negative")
    if options.health_retries:
        made["Retries"] = options.health_retries
    if options.health_cmd:
        made["Test"] = ["CMD-SHELL", options.health_cmd]
    if options.no_healthcheck:
        if made:
            raise UsageProblem("--no-healthcheck conflicts with --health-* options")
        return {"Test": ["NONE"]}
    return made


def _life(options: CreateOptions) -> dict[str, Any]:
    if options.rm and options.restart not in {"", "no"}:
        raise UsageProblem("conflicting options: cannot specify both --restart and --rm")
    if options.log_driver == "none" and options.log_opt:
        raise UsageProblem("invalid logging opts for driver none")
    return {
        "AutoRemove": options.rm,
        "LogConfig": _given(
            {"Type": options.log_driver, "Config": environment.strict_pairs(options.log_opt, "--log-opt")}
        ),
        "VolumesFrom": list(options.volumes_from),
        "VolumeDriver": options.volume_driver,
        "StorageOpt": environment.storage_options(options.storage_opt),
        "ReadonlyRootfs": options.read_only,
        "Runtime": options.runtime,
        "Annotations": environment.pairs(options.annotation),
    }


def _limits(options: CreateOptions) -> dict[str, Any]:
    if options.memory_swappiness != -1 and not 0 <= options.memory_swappiness <= 100:
        raise UsageProblem(
            f"invalid value: {options.memory_swappiness}. Valid memory swappiness range is 0-100"
        )
    return {
        "Memory": options.memory and values.size(options.memory, "--memory"),
        "MemorySwap": options.memory_swap and values.swap_size(options.memory_swap),
        "MemoryReservation": options.memory_reservation
        and values.size(options.memory_reservation, "--memory-reservation"),
        "OomKillDisable": options.oom_kill_disable,
        "OomScoreAdj": options.oom_score_adj,
        "NanoCpus": options.cpus and values.nano_cpus(options.cpus),
        "CpuShares": options.cpu_shares,
        "CpuPeriod": options.cpu_period,
        "CpuQuota": options.cpu_quota,
        "CpusetCpus": options.cpuset_cpus,
        "CpusetMems": options.cpuset_mems,
        "BlkioWeight": options.blkio_weight,
        "BlkioWeightDevice": [devices.weight(text) for text in options.blkio_weight_device],
        "BlkioDeviceReadBps": [
            devices.bytes_rate(text, "--device-read-bps") for text in options.device_read_bps
        ],
        "BlkioDeviceWriteBps": [
            devices.bytes_rate(text, "--device-write-bps") for text in options.device_write_bps
        ],
        "BlkioDeviceReadIOps": [
            devices.io_rate(text, "--device-read-iops") for text in options.device_read_iops
        ],
        "BlkioDeviceWriteIOps": [
            devices.io_rate(text, "--device-write-iops") for text in options.device_write_iops
        ],
        "CpuRealtimePeriod": options.cpu_rt_period,
        "CpuRealtimeRuntime": options.cpu_rt_runtime,
        "PidsLimit": options.pids_limit,
        "ShmSize": options.shm_size and values.size(options.shm_size, "--shm-size"),
        "Ulimits": [values.ulimit(text) for text in options.ulimit],
        "CgroupParent": options.cgroup_parent,
    }


def _privileges(options: CreateOptions) -> dict[str, Any]:
    added, dropped = security.capabilities(options.cap_add, options.cap_drop)
    return {
        "Privileged": options.privileged,
        "CapAdd": added,
        "CapDrop": dropped,
        "SecurityOpt": list(security.security(options.security_opt).options),
        "GroupAdd": list(options.group_add),
        "Devices": [values.device(text) for text in options.device],
        "DeviceRequests": [devices.gpus(options.gpus)] if options.gpus else [],
        "DeviceCgroupRules": list(options.device_cgroup_rule),
        "Sysctls": environment.sysctls(options.sysctl),
        "UsernsMode": values.namespace_mode(options.userns, "--userns", "host"),
        "PidMode": values.namespace_mode(options.pid, "--pid", "host", "container:"),
        "IpcMode": options.ipc,
        "UTSMode": values.namespace_mode(options.uts, "--uts", "host"),
        "CgroupnsMode": values.namespace_mode(options.cgroupns, "--cgroupns", "host", "private"),
    }


def _host_network(options: CreateOptions) -> dict[str, Any]:
    return {
        "PublishAllPorts": options.publish_all,
        "ExtraHosts": [values.extra_host(text) for text in options.add_host],
        "Dns": [values.dns_server(text) for text in options.dns],
        "DnsSearch": [values.search_domain(text) for text in options.dns_search],
        "DnsOptions": list(options.dns_option),
        "Links": list(options.link),
    }


def _bindings(published: tuple[ports.Published, ...]) -> dict[str, list[dict[str, str]]]:
    made: dict[str, list[dict[str, str]]] = {}
    for port in published:
        made.setdefault(port.key, []).append({"HostIp": port.host_ip, "HostPort": port.host_port})
    return made
