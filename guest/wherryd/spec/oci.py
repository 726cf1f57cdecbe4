"""The OCI runtime spec's config.json as frozen data. Names follow the spec; sections are cited.

In: what the runtime carries out today. What it cannot do yet is refused by `parse.py`, never ignored.
Source: opencontainers/runtime-spec 1.2, config.md and config-linux.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from wherryd.spec.seccomp import Seccomp


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """config.md, "POSIX-platform User".

    username: our use of a field the spec has for Windows: "name", "uid", "name:group", ... as Docker's
    USER takes it, resolved in the container's own /etc/passwd and /etc/group; None = use the numbers.
    """

    uid: int = 0
    gid: int = 0
    umask: int | None = None
    additional_gids: tuple[int, ...] = ()
    username: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rlimit:
    kind: str  # "RLIMIT_NOFILE"
    soft: int  # 2**64 - 1 = unlimited
    hard: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CapabilitySets:
    """Names by set; all empty when config.json has no `capabilities`: the process then has none."""

    bounding: tuple[str, ...] = ()
    effective: tuple[str, ...] = ()
    inheritable: tuple[str, ...] = ()
    permitted: tuple[str, ...] = ()
    ambient: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduler:
    """config.md, "scheduler", with the kernel's numbers: see sched_setattr(2)."""

    policy: int
    nice: int = 0
    priority: int = 0
    flags: int = 0
    runtime_ns: int = 0
    deadline_ns: int = 0
    period_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class IoPriority:
    """config.md, "ioPriority". kind: the kernel's class, level: 0 (first) to 7; see ioprio_set(2)."""

    kind: int
    level: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPolicy:
    """config-linux.md, "Memory policy". mode: the kernel's number with its flags; see set_mempolicy(2)."""

    mode: int
    nodes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuAffinity:
    """config.md, "execCPUAffinity": CPUs before and after exec's process is in its cgroup; empty = leave."""

    initial: tuple[int, ...] = ()
    final: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    args: tuple[str, ...]
    env: tuple[str, ...]
    cwd: str
    terminal: bool = False
    console_size: tuple[int, int] | None = None  # (height, width)
    user: User = field(default_factory=User)
    capabilities: CapabilitySets = field(default_factory=CapabilitySets)
    rlimits: tuple[Rlimit, ...] = ()
    no_new_privileges: bool = False
    oom_score_adj: int | None = None
    apparmor_profile: str = ""
    selinux_label: str = ""
    scheduler: Scheduler | None = None
    io_priority: IoPriority | None = None
    cpu_affinity: CpuAffinity = field(default_factory=CpuAffinity)


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    path: str  # absolute, or relative to the bundle
    readonly: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class IdMapping:
    container_id: int
    host_id: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecMount:
    """config.md, "Mounts". The mappings are of an id-mapped mount."""

    destination: str
    kind: str  # file system type; "bind", or "" with a bind option
    source: str
    options: tuple[str, ...] = ()
    uid_mappings: tuple[IdMapping, ...] = ()
    gid_mappings: tuple[IdMapping, ...] = ()


class NamespaceKind(StrEnum):
    """config-linux.md, "Namespaces"."""

    PID = "pid"
    NETWORK = "network"
    MOUNT = "mount"
    IPC = "ipc"
    UTS = "uts"
    USER = "user"
    CGROUP = "cgroup"
    TIME = "time"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceNode:
    """config-linux.md, "Devices": a node to make."""

    path: str
    kind: str  # "c", "b", "u" or "p"
    major: int = 0
    minor: int = 0
    mode: int = 0o666
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRule:
    """config-linux.md, "Allowed Device list". None = any."""

    allow: bool
    kind: str = "a"
    major: int | None = None
    minor: int | None = None
    access: str = "rwm"


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryLimits:
    """Bytes; -1 = no limit, None = leave it. swap: memory and swap together, as Docker has it.

    check_before_update: refuse a limit below what is used, instead of letting the kernel kill for it.
    """

    limit: int | None = None
    reservation: int | None = None
    swap: int | None = None
    swappiness: int | None = None
    disable_oom_killer: bool = False
    check_before_update: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuLimits:
    """quota, period, burst, realtime_*: microseconds; quota -1 = no limit. cpus, mems: lists as cpuset(7) has
    them."""

    shares: int | None = None
    quota: int | None = None
    period: int | None = None
    burst: int | None = None
    realtime_runtime: int | None = None
    realtime_period: int | None = None
    cpus: str = ""
    mems: str = ""
    idle: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockRate:
    """A limit for one block device, per second: bytes, or requests."""

    major: int
    minor: int
    rate: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockWeight:
    """A weight for one block device, 10 to 1000; None and 0 = leave it."""

    major: int
    minor: int
    weight: int | None = None
    leaf_weight: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockIoLimits:
    weight: int | None = None
    leaf_weight: int | None = None
    weights: tuple[BlockWeight, ...] = ()
    read_bps: tuple[BlockRate, ...] = ()
    write_bps: tuple[BlockRate, ...] = ()
    read_iops: tuple[BlockRate, ...] = ()
    write_iops: tuple[BlockRate, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HugepageLimit:
    page_size: str  # "2MB"
    limit: int  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkLimits:
    """class_id: of packets, for tc. priorities: (device, priority) of what is sent."""

    class_id: int | None = None
    priorities: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RdmaLimit:
    device: str
    handles: int | None = None
    objects: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """config-linux.md, "Control groups". unified: control files of cgroup v2 as they are."""

    devices: tuple[DeviceRule, ...] = ()
    memory: MemoryLimits = field(default_factory=MemoryLimits)
    cpu: CpuLimits = field(default_factory=CpuLimits)
    pids_limit: int | None = None  # 0 or less = no limit
    block_io: BlockIoLimits = field(default_factory=BlockIoLimits)
    hugepage_limits: tuple[HugepageLimit, ...] = ()
    network: NetworkLimits = field(default_factory=NetworkLimits)
    rdma: tuple[RdmaLimit, ...] = ()
    unified: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Linux:
    #: kind -> path of the namespace to join, or None for a new one; a kind not in it is shared with the host.
    namespaces: Mapping[NamespaceKind, str | None]
    uid_mappings: tuple[IdMapping, ...] = ()
    gid_mappings: tuple[IdMapping, ...] = ()
    devices: tuple[DeviceNode, ...] = ()
    cgroups_path: str = ""
    mount_label: str = ""
    resources: Resources = field(default_factory=Resources)
    rootfs_propagation: str = ""
    masked_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()
    sysctl: Mapping[str, str] = field(default_factory=dict)
    time_offsets: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # clock -> (seconds, ns)
    seccomp: Seccomp | None = None
    personality: int | None = None  # a PER_* of personality(2)
    memory_policy: MemoryPolicy | None = None

    def is_new(self, kind: NamespaceKind) -> bool:
        return self.namespaces.get(kind, "") is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """args: with argv[0]; empty = the path. env: NAME=value, and nothing else. timeout_s: None = no limit."""

    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    timeout_s: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """config.md, "POSIX-platform Hooks"; when each runs: runtime/hooks.py."""

    prestart: tuple[Hook, ...] = ()
    create_runtime: tuple[Hook, ...] = ()
    create_container: tuple[Hook, ...] = ()
    start_container: tuple[Hook, ...] = ()
    poststart: tuple[Hook, ...] = ()
    poststop: tuple[Hook, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    version: str
    root: Root
    process: Process | None  # None: the bundle can be created, not started
    hostname: str
    domainname: str
    mounts: tuple[SpecMount, ...]
    linux: Linux
    annotations: Mapping[str, str]
    hooks: Hooks = field(default_factory=Hooks)
