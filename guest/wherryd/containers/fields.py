"""Every field of the create request, and what this engine does with it.

One row per field: its shape, its default, and the verdict on a value that is not the default:
carried out (no third entry), refused with a sentence, or taken with a warning. So no option is ever
dropped in silence. Source: Engine API 1.51, ContainerConfig and HostConfig.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from wherryd.containers import health, kinds
from wherryd.containers.kinds import Kind


class Verdict(Enum):
    CARRIED_OUT = "carried out"
    REFUSED = "refused"
    WARNED = "warned"


@dataclass(frozen=True, slots=True)
class Field:
    kind: Kind
    default: Any
    verdict: Verdict = Verdict.CARRIED_OUT
    sentence: str = ""


def _refused(kind: Kind, default: Any, sentence: str) -> Field:
    return Field(kind, default, Verdict.REFUSED, sentence)


def _warned(kind: Kind, default: Any, sentence: str) -> Field:
    return Field(kind, default, Verdict.WARNED, sentence)


CONFIG: Mapping[str, Field] = {
    "Hostname": Field(kinds.string, ""),
    "Domainname": Field(kinds.string, ""),
    "User": Field(kinds.string, ""),
    "AttachStdin": Field(kinds.flag, False),
    "AttachStdout": Field(kinds.flag, False),
    "AttachStderr": Field(kinds.flag, False),
    "ExposedPorts": Field(kinds.key_set, None),
    "Tty": Field(kinds.flag, False),
    "OpenStdin": Field(kinds.flag, False),
    "StdinOnce": Field(kinds.flag, False),
    "Env": Field(kinds.strings, None),
    "Cmd": Field(kinds.command, None),
    "Healthcheck": Field(health.parse, None),
    "ArgsEscaped": _refused(kinds.flag, False, "is for Windows containers"),
    "Image": Field(kinds.string, ""),
    "Volumes": Field(kinds.key_set, None),
    "WorkingDir": Field(kinds.string, ""),
    "Entrypoint": Field(kinds.command, None),
    "NetworkDisabled": Field(kinds.flag, False),
    "MacAddress": Field(kinds.string, ""),
    "OnBuild": Field(kinds.strings, None),
    "Labels": Field(kinds.string_map, {}),
    "StopSignal": Field(kinds.string, ""),
    "StopTimeout": Field(kinds.integer, None),
    "Shell": Field(kinds.strings, None),
}

#: Engine API, Resources.
LIMITS: Mapping[str, Field] = {
    "CpuShares": Field(kinds.integer, 0),
    "Memory": Field(kinds.integer, 0),
    "NanoCpus": Field(kinds.integer, 0),
    "CgroupParent": Field(kinds.string, ""),
    "BlkioWeight": Field(kinds.integer, 0),
    "BlkioWeightDevice": Field(kinds.objects, []),
    "BlkioDeviceReadBps": Field(kinds.objects, []),
    "BlkioDeviceWriteBps": Field(kinds.objects, []),
    "BlkioDeviceReadIOps": Field(kinds.objects, []),
    "BlkioDeviceWriteIOps": Field(kinds.objects, []),
    "CpuPeriod": Field(kinds.integer, 0),
    "CpuQuota": Field(kinds.integer, 0),
    "CpuRealtimePeriod": Field(kinds.integer, 0),
    "CpuRealtimeRuntime": Field(kinds.integer, 0),
    "CpusetCpus": Field(kinds.string, ""),
    "CpusetMems": Field(kinds.string, ""),
    "Devices": Field(kinds.objects, []),
    "DeviceCgroupRules": Field(kinds.strings, None),
    "DeviceRequests": _refused(kinds.objects, None, "GPUs and other requested devices are not available"),
    "KernelMemory": _warned(kinds.integer, 0, "the kernel memory limit is deprecated and not applied"),
    "KernelMemoryTCP": _warned(kinds.integer, 0, "the kernel memory limit is deprecated and not applied"),
    "MemoryReservation": Field(kinds.integer, 0),
    "MemorySwap": Field(kinds.integer, 0),
    "MemorySwappiness": Field(kinds.integer, None),
    "OomKillDisable": Field(kinds.flag, None),
    "PidsLimit": Field(kinds.integer, None),
    "Ulimits": Field(kinds.objects, []),
    "CpuCount": _refused(kinds.integer, 0, "is for Windows containers"),
    "CpuPercent": _refused(kinds.integer, 0, "is for Windows containers"),
    "IOMaximumIOps": _refused(kinds.integer, 0, "is for Windows containers"),
    "IOMaximumBandwidth": _refused(kinds.integer, 0, "is for Windows containers"),
}

HOST_CONFIG: Mapping[str, Field] = {
    "Binds": Field(kinds.strings, None),
    "ContainerIDFile": Field(kinds.string, ""),
    "LogConfig": Field(kinds.mapping, {}),
    "NetworkMode": Field(kinds.string, "default"),
    "PortBindings": Field(kinds.port_map, {}),
    "RestartPolicy": Field(kinds.mapping, {"Name": "no", "MaximumRetryCount": 0}),
    "AutoRemove": Field(kinds.flag, False),
    "VolumeDriver": Field(kinds.string, ""),
    "VolumesFrom": Field(kinds.strings, None),
    "Mounts": Field(kinds.objects, None),
    "ConsoleSize": Field(kinds.size_pair, [0, 0]),
    "Annotations": Field(kinds.string_map, None),
    "CapAdd": Field(kinds.strings, None),
    "CapDrop": Field(kinds.strings, None),
    "CgroupnsMode": Field(kinds.string, "private"),
    "Dns": Field(kinds.strings, []),
    "DnsOptions": Field(kinds.strings, []),
    "DnsSearch": Field(kinds.strings, []),
    "ExtraHosts": Field(kinds.strings, None),
    "GroupAdd": Field(kinds.strings, None),
    "IpcMode": Field(kinds.string, "private"),
    "Cgroup": _refused(kinds.string, "", "joining another container's cgroup is not available"),
    "Links": Field(kinds.strings, None),
    "OomScoreAdj": Field(kinds.integer, 0),
    "PidMode": Field(kinds.string, ""),
    "Privileged": Field(kinds.flag, False),
    "PublishAllPorts": Field(kinds.flag, False),
    "ReadonlyRootfs": Field(kinds.flag, False),
    "SecurityOpt": Field(kinds.strings, None),
    "StorageOpt": _refused(kinds.string_map, None, "storage options per container are not available"),
    "Tmpfs": Field(kinds.string_map, None),
    "UTSMode": Field(kinds.string, ""),
    "UsernsMode": Field(kinds.string, ""),
    "ShmSize": Field(kinds.integer, 64 * 1024 * 1024),
    "Sysctls": Field(kinds.string_map, None),
    "Runtime": Field(kinds.string, ""),
    "Isolation": Field(kinds.string, ""),
    "MaskedPaths": Field(kinds.strings, None),
    "ReadonlyPaths": Field(kinds.strings, None),
    "Init": Field(kinds.flag, None),
    **LIMITS,
}
