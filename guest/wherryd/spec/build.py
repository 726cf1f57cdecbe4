"""From a checked create request to the OCI runtime spec's config.json.

A pure function of its plan: no file is read, no name is looked up here. Source: OCI runtime-spec
1.2 config.md and config-linux.md; which default goes where: Docker Engine API, HostConfig.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from wherryd.spec import capabilities, defaults, securityoptions
from wherryd.spec.oci import IdMapping
from wherryd.spec.users import User

OCI_VERSION = "1.2.0"

_CPU_PERIOD_US = 100_000
_UNLIMITED = 2**64 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device node. path: inside the container. access: of "rwm"."""

    path: str
    type: str
    major: int
    minor: int
    access: str = "rwm"
    mode: int = 0o660
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class UserMount:
    """A mount the request asks for, source resolved. type: "bind" or "tmpfs". recursive: a bind takes the
    mounts below along. writable_below: those stay as they are where it is read-only."""

    type: str
    source: str
    destination: str
    read_only: bool = False
    propagation: str = "rprivate"
    options: tuple[str, ...] = ()
    #: "idmap" or "ridmap": a bind whose files keep on the host the ids that they have inside.
    idmap: str = ""
    #: Its files already have the ids that they have inside: nothing is to be mapped.
    is_mapped: bool = False
    recursive: bool = True
    writable_below: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """host_config: Docker's document, checked. namespaces: kind -> path to join, or None for a new one;
    a kind that is missing is shared with the host. available_capabilities: the engine's own bounding set.
    """

    container_id: str
    arguments: Sequence[str]
    environment: Sequence[str]
    working_directory: str
    user: User
    terminal: bool
    hostname: str
    domainname: str
    host_config: Mapping[str, Any]
    namespaces: Mapping[str, str | None]
    cgroup_parent: str
    available_capabilities: Sequence[str]
    mounts: Sequence[UserMount] = ()
    devices: Sequence[Device] = ()
    console_size: tuple[int, int] | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    #: Of uids and gids alike; with namespaces["user"].
    id_mappings: Sequence[IdMapping] = ()
    #: linux.resources.blockIO, and rules beside those of `devices`.
    block_io: Mapping[str, Any] = field(default_factory=dict)
    device_rules: Sequence[Mapping[str, Any]] = ()
    #: linux.seccomp; None = every system call may be made.
    seccomp: Mapping[str, Any] | None = None


def build(plan: Plan) -> dict[str, Any]:
    """The config.json as a plain document."""
    host = plan.host_config
    document: dict[str, Any] = {
        "ociVersion": OCI_VERSION,
        "process": process(
            arguments=plan.arguments,
            environment=base_environment(plan.environment, plan.hostname, plan.terminal, plan.user.home),
            working_directory=plan.working_directory,
            user=plan.user,
            terminal=plan.terminal,
            capability_names=granted(host, plan.available_capabilities),
            host_config=host,
            console_size=plan.console_size,
        ),
        "root": {"path": "rootfs", "readonly": host["ReadonlyRootfs"]},
        "mounts": _mounts(plan),
        "annotations": {**(host["Annotations"] or {}), **plan.annotations},
        "linux": _linux(plan),
    }
    if "uts" in plan.namespaces:
        document["hostname"] = plan.hostname
        if plan.domainname:
            document["domainname"] = plan.domainname
    return document


def process(
    *,
    arguments: Sequence[str],
    environment: Sequence[str],
    working_directory: str,
    user: User,
    terminal: bool,
    capability_names: Sequence[str],
    host_config: Mapping[str, Any],
    console_size: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """An OCI process object: a container's first, or one of exec."""
    document: dict[str, Any] = {
        "terminal": terminal,
        "user": {"uid": user.uid, "gid": user.gid, "umask": 0o022},
        "args": list(arguments),
        "env": list(environment),
        "cwd": working_directory or "/",
        "capabilities": _capability_sets(capability_names, user.uid),
        "noNewPrivileges": _no_new_privileges(host_config["SecurityOpt"] or ()),
    }
    # With the primary group: a set-group-id program could lay it down otherwise, and be let in by a file
    # whose mode refuses that group (CVE-2022-36109).
    document["user"]["additionalGids"] = list(dict.fromkeys((user.gid, *user.additional_gids)))
    if terminal and console_size is not None:
        document["consoleSize"] = {"height": console_size[0], "width": console_size[1]}
    if profile := securityoptions.apparmor_profile(host_config["SecurityOpt"]):
        document["apparmorProfile"] = profile
    if host_config["OomScoreAdj"]:
        document["oomScoreAdj"] = host_config["OomScoreAdj"]
    limits = [
        {
            "type": f"RLIMIT_{limit['Name'].upper()}",
            "hard": _limit(limit.get("Hard", 0)),
            "soft": _limit(limit.get("Soft", 0)),
        }
        for limit in host_config["Ulimits"]
    ]
    if limits:
        document["rlimits"] = limits
    return document


def base_environment(given: Sequence[str], hostname: str, terminal: bool, home: str) -> list[str]:
    """What every process finds: PATH, HOSTNAME, TERM with a terminal, HOME. The request's own win.

    given: NAME=value, or NAME for a variable that is taken away.
    """
    merged = {"PATH": defaults.PATH, "HOSTNAME": hostname}
    if terminal:
        merged["TERM"] = "xterm"
    for entry in given:
        name, equals, value = entry.partition("=")
        if equals:
            merged[name] = value
        else:
            merged.pop(name, None)
    merged.setdefault("HOME", home)
    return [f"{name}={value}" for name, value in merged.items()]


def granted(host_config: Mapping[str, Any], available: Sequence[str]) -> list[str]:
    """Capability names of a container: all that there are when privileged."""
    if host_config["Privileged"]:
        return list(available)
    return capabilities.effective(host_config["CapAdd"] or (), host_config["CapDrop"] or (), available)


def _capability_sets(names: Sequence[str], uid: int) -> dict[str, list[str]]:
    """Inheritable and ambient stay empty (CVE-2022-24769). Who is not root starts with none in force."""
    in_force = list(names) if uid == 0 else []
    return {
        "bounding": list(names),
        "effective": in_force,
        "permitted": in_force,
        "inheritable": [],
        "ambient": [],
    }


def _no_new_privileges(options: Sequence[str]) -> bool:
    return any(
        option.replace(":", "=", 1) in ("no-new-privileges", "no-new-privileges=true", "no-new-privileges=")
        for option in options
    )


def _limit(value: int) -> int:
    return _UNLIMITED if value == -1 else value


def _mounts(plan: Plan) -> list[dict[str, Any]]:
    """Docker's defaults, less what the request covers, then the request's, parents before children."""
    host = plan.host_config
    covered = {mount.destination for mount in plan.mounts}
    mounts = [
        _adapted(mount, plan)
        for mount in defaults.mounts(shm_size_bytes=host["ShmSize"])
        if mount["destination"] not in covered
    ]
    if host["IpcMode"] == "none":
        mounts = [mount for mount in mounts if mount["destination"] != "/dev/shm"]  # noqa: S108
    ordered = sorted(plan.mounts, key=lambda mount: len(PurePosixPath(mount.destination).parts))
    return mounts + [_user_mount(mount, plan) for mount in ordered]


def _adapted(mount: dict[str, Any], plan: Plan) -> dict[str, Any]:
    destination, options = mount["destination"], list(mount["options"])
    if plan.host_config["Privileged"] and destination in ("/sys", "/sys/fs/cgroup"):
        options = ["rw" if option == "ro" else option for option in options]
    if "ipc" not in plan.namespaces and destination in ("/dev/shm", "/dev/mqueue"):  # noqa: S108
        # The host's IPC namespace brings the host's own queues and shared memory along.
        return {
            "destination": destination,
            "type": "bind",
            "source": destination,
            "options": ["rbind", "nosuid", "noexec", "nodev"],
        }
    if "network" not in plan.namespaces and destination == "/sys" and not plan.host_config["Privileged"]:
        # sysfs shows the network namespace that mounts it; that of the host is the host's to mount.
        return {
            "destination": "/sys",
            "type": "bind",
            "source": "/sys",
            "options": ["rbind", "nosuid", "noexec", "nodev", "ro"],
        }
    return {**mount, "options": options}


def _user_mount(mount: UserMount, plan: Plan) -> dict[str, Any]:
    access = "ro" if mount.read_only else "rw"
    if mount.type == "tmpfs":
        options = [option for option in mount.options if option not in ("ro", "rw")]
        return {
            "destination": mount.destination,
            "type": "tmpfs",
            "source": "tmpfs",
            "options": [*options, access],
        }
    return {
        "destination": mount.destination,
        "type": "bind",
        "source": mount.source,
        "options": [
            "rbind" if mount.recursive else "bind",
            access,
            *(("rro",) if mount.read_only and not mount.writable_below else ()),
            mount.propagation,
            *mount.options,
            *((mount.idmap or "idmap",) if plan.id_mappings and not mount.is_mapped else ()),
        ],
    }


def _linux(plan: Plan) -> dict[str, Any]:
    host = plan.host_config
    privileged = host["Privileged"]
    linux: dict[str, Any] = {
        "namespaces": [_namespace(kind, path) for kind, path in plan.namespaces.items()],
        "cgroupsPath": f"{plan.cgroup_parent.rstrip('/')}/{plan.container_id}",
        "resources": resources(host, plan.devices, block_io=plan.block_io, device_rules=plan.device_rules),
        "sysctl": _sysctls(plan),
        "maskedPaths": _paths(host["MaskedPaths"], defaults.MASKED_PATHS, privileged),
        "readonlyPaths": _paths(host["ReadonlyPaths"], defaults.READONLY_PATHS, privileged),
    }
    for name in ("uidMappings", "gidMappings") if plan.id_mappings else ():
        linux[name] = [
            {"containerID": each.container_id, "hostID": each.host_id, "size": each.size}
            for each in plan.id_mappings
        ]
    if plan.seccomp is not None:
        linux["seccomp"] = plan.seccomp
    if plan.devices:
        linux["devices"] = [
            {
                "path": device.path,
                "type": device.type,
                "major": device.major,
                "minor": device.minor,
                "fileMode": device.mode,
                "uid": device.uid,
                "gid": device.gid,
            }
            for device in plan.devices
        ]
    return linux


def _namespace(kind: str, path: str | None) -> dict[str, str]:
    return {"type": kind} if path is None else {"type": kind, "path": path}


def _paths(given: Sequence[str] | None, default: Sequence[str], privileged: bool) -> list[str]:
    if given is not None:
        return list(given)
    return [] if privileged else list(default)


def _sysctls(plan: Plan) -> dict[str, str]:
    own_network = "network" in plan.namespaces
    # A namespace that is joined was set up by its first owner.
    base = (
        dict(defaults.SYSCTLS)
        if own_network and not plan.host_config["NetworkMode"].startswith("container:")
        else {}
    )
    return {**base, **(plan.host_config["Sysctls"] or {})}


def resources(
    host: Mapping[str, Any],
    devices: Sequence[Device] = (),
    *,
    block_io: Mapping[str, Any] | None = None,
    device_rules: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """linux.resources. Zero and null mean "no limit" in Docker's document and are left out here.

    block_io, device_rules: parts of it whose devices were looked up already.
    """
    rules = [*_device_rules(host["Privileged"], devices), *device_rules]
    found: dict[str, Any] = {"devices": rules}
    memory = {
        "limit": host["Memory"] or None,
        "reservation": host["MemoryReservation"] or None,
        "swap": host["MemorySwap"] or None,
        "swappiness": None if host["MemorySwappiness"] == -1 else host["MemorySwappiness"],
        "disableOOMKiller": host["OomKillDisable"] or None,
    }
    period, quota = host["CpuPeriod"], host["CpuQuota"]
    if host["NanoCpus"]:
        # 500000000 -> 50000 of every 100000 microseconds, half a CPU
        period, quota = _CPU_PERIOD_US, host["NanoCpus"] * _CPU_PERIOD_US // 1_000_000_000
    cpu = {
        "shares": host["CpuShares"] or None,
        "quota": quota or None,
        "period": period or None,
        "cpus": host["CpusetCpus"] or None,
        "mems": host["CpusetMems"] or None,
        "realtimePeriod": host["CpuRealtimePeriod"] or None,
        "realtimeRuntime": host["CpuRealtimeRuntime"] or None,
    }
    pids = {"limit": host["PidsLimit"] or defaults.PIDS_LIMIT}
    for name, section in (("memory", memory), ("cpu", cpu), ("pids", pids), ("blockIO", block_io or {})):
        given = {key: value for key, value in section.items() if value is not None}
        if given:
            found[name] = given
    return found


def _device_rules(privileged: bool, devices: Sequence[Device]) -> list[dict[str, Any]]:
    if privileged:
        return [{"allow": True, "access": "rwm"}]
    own = [
        {
            "allow": True,
            "type": device.type,
            "major": device.major,
            "minor": device.minor,
            "access": device.access,
        }
        for device in devices
    ]
    return [*(dict(rule) for rule in defaults.DEVICE_RULES), *own]
