"""Docker's defaults for a container, as data. Source: moby daemon/pkg/oci (facts, not code).

Each list is what a plain `docker run IMAGE` gets; `spec/build.py` adds and removes by the request.
"""

from typing import Any, Final

#: In bounding, permitted and effective. Inheritable and ambient stay empty: CVE-2016-8867, CVE-2022-24769.
CAPABILITIES: Final = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
)

#: A path that is not there is skipped.
MASKED_PATHS: Final = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)

READONLY_PATHS: Final = (
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
)

#: Processes and threads of a container that names no limit: a fork bomb stays inside. Docker has none.
PIDS_LIMIT: Final = 4096

SHM_SIZE_BYTES: Final = 64 * 1024 * 1024


def mounts(*, shm_size_bytes: int = SHM_SIZE_BYTES) -> list[dict[str, Any]]:
    """The default mounts as OCI objects, in the order they are made."""
    noexec = ("nosuid", "noexec", "nodev")
    return [
        _mount("/proc", "proc", "proc", "nosuid", "noexec", "nodev"),
        _mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _mount(
            "/dev/pts",
            "devpts",
            "devpts",
            "nosuid",
            "noexec",
            "newinstance",
            "ptmxmode=0666",
            "mode=0620",
            "gid=5",
        ),
        _mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", "ro"),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", "ro", "nosuid", "noexec", "nodev"),
        _mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev"),
        _mount("/dev/shm", "tmpfs", "shm", *noexec, "mode=1777", f"size={shm_size_bytes}"),  # noqa: S108
    ]


def _mount(destination: str, kind: str, source: str, *options: str) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": source, "options": list(options)}


#: Deny everything, then what every program expects. Majors and minors: Documentation/admin-guide/devices.txt.
DEVICE_RULES: Final[tuple[dict[str, Any], ...]] = (
    {"allow": False, "access": "rwm"},
    {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"},  # null
    {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "rwm"},  # zero
    {"allow": True, "type": "c", "major": 1, "minor": 7, "access": "rwm"},  # full
    {"allow": True, "type": "c", "major": 1, "minor": 8, "access": "rwm"},  # random
    {"allow": True, "type": "c", "major": 1, "minor": 9, "access": "rwm"},  # urandom
    {"allow": True, "type": "c", "major": 5, "minor": 0, "access": "rwm"},  # tty
    {"allow": True, "type": "c", "major": 5, "minor": 1, "access": "rwm"},  # console
    {"allow": True, "type": "c", "major": 5, "minor": 2, "access": "rwm"},  # ptmx
    {"allow": True, "type": "c", "major": 136, "access": "rwm"},  # pts/*
    {"allow": True, "type": "c", "access": "m"},  # nodes may be made ...
    {"allow": True, "type": "b", "access": "m"},  # ... but not opened
)

#: New for every container unless the request shares one. `user` and `time` only when asked for.
NAMESPACES: Final = ("mount", "pid", "network", "uts", "ipc", "cgroup")

#: A private network namespace may ping and bind low ports without capabilities.
#: Source: moby daemon/oci_linux.go.
SYSCTLS: Final = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}

#: PATH when the image sets none.
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
