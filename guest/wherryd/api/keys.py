"""Keys of request bodies in any case: the reference daemon reads `detachKeys` as `DetachKeys`.

Its decoder compares the names of a document's fields without regard to case. Keys that are the user's own
(labels, ports, networks' names) stay as they are: below them nothing is a field of the API, unless the map's
values are objects of the API themselves. Source: Engine API 1.51; encoding/json of Go, "Unmarshal".
"""

from collections.abc import Mapping
from typing import Any, Final

#: Fields whose keys are the user's, values and all.
_FREE: Final = frozenset(
    (
        "Annotations", "AuxiliaryAddresses", "DriverOpts", "ExposedPorts", "Labels", "Options", "Runtimes",
        "StorageOpt", "Sysctls", "Tmpfs", "Volumes",
    )
)  # fmt: skip

#: Fields whose keys are the user's, and whose values are objects of the API.
_NAMED: Final = frozenset(("EndpointsConfig", "PortBindings"))

#: Every field of a request's body: containers, execs, networks, volumes.
_FIELDS: Final = """
Aliases Annotations AppArmor ArgsEscaped DNSNames EndpointID GlobalIPv6Address GlobalIPv6PrefixLen
IPAddress IPPrefixLen IPv6Gateway ImageOptions NetworkID
AttachStderr AttachStdin AttachStdout Attachable AutoRemove
AuxiliaryAddresses BindOptions Binds BlkioDeviceReadBps BlkioDeviceReadIOps BlkioDeviceWriteBps
BlkioDeviceWriteIOps BlkioWeight BlkioWeightDevice CapAdd CapDrop Capabilities Cgroup CgroupParent
CgroupPermissions CgroupnsMode ClusterVolumeSpec Cmd Config ConfigFrom ConfigOnly ConsoleSize Consistency
Container ContainerIDFile Count CpuCount CpuPercent CpuPeriod CpuQuota CpuRealtimePeriod
CpuRealtimeRuntime CpuShares CpusetCpus CpusetMems CreateMountpoint Detach DetachKeys DeviceCgroupRules
DeviceIDs DeviceRequests Devices Dns DnsOptions DnsSearch Domainname Driver DriverConfig DriverOpts
EnableIPv4 EnableIPv6 EndpointConfig EndpointsConfig Entrypoint Env ExposedPorts ExtraHosts Force Gateway
GroupAdd GwPriority Hard Healthcheck HostConfig HostIp HostPort Hostname IOMaximumBandwidth
IOMaximumIOps IPAM IPAMConfig IPRange IPv4Address IPv6Address Image Ingress Init Internal Interval
IpcMode Isolation KernelMemory KernelMemoryTCP Labels LinkLocalIPs Links LogConfig MacAddress MaskedPaths
MaximumRetryCount Memory MemoryReservation MemorySwap MemorySwappiness Mode Mounts Name NanoCpus
NetworkDisabled NetworkMode NetworkingConfig NoCopy NonRecursive OnBuild OomKillDisable OomScoreAdj
OpenStdin Options Path PathInContainer PathOnHost PidMode PidsLimit PortBindings Privileged
Propagation PublishAllPorts Rate ReadOnly ReadOnlyForceRecursive ReadOnlyNonRecursive ReadonlyPaths
ReadonlyRootfs RestartPolicy Retries Runtime Scope SecurityOpt Shell ShmSize SizeBytes Soft Source
StartInterval StartPeriod StdinOnce StopSignal StopTimeout StorageOpt Subnet Subpath Sysctls Target
Test Timeout Tmpfs TmpfsOptions Tty Type UTSMode Ulimits User UsernsMode VolumeDriver VolumeOptions
Volumes VolumesFrom Weight WorkingDir
"""

_CANONICAL: Final[Mapping[str, str]] = {name.lower(): name for name in _FIELDS.split()}


def canonical(document: Mapping[str, Any]) -> dict[str, Any]:
    """The body with the API's own spelling of its fields. A field given twice: its own spelling wins."""
    found: dict[str, Any] = {}
    for key, value in document.items():
        name = _CANONICAL.get(key.lower(), key)
        if name == key or name not in document:
            found[name] = _below(name, value)
    return found


def _below(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        if name in _FREE:
            return value
        if name in _NAMED:
            return {key: _below("", inner) for key, inner in value.items()}
        # A log driver's options and an IPAM driver's list share their name.
        return value if name == "Config" else canonical(value)
    if isinstance(value, list):
        return [_below("", inner) for inner in value]
    return value
