"""Fields of the objects inside a create request: what is known of them, so that the rest is told by name.

Who reads an object takes the fields it knows; this table says which those are all together, and a test walks
the API's description to prove it whole. Source: Engine API 1.51, ContainerCreate.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

_RATE: Final = frozenset({"Path", "Rate"})

#: By where they stand: [] is each entry of a list, {} each value of a map.
INNER: Final[Mapping[str, frozenset[str]]] = {
    "Healthcheck": frozenset({"Test", "Interval", "Timeout", "Retries", "StartPeriod", "StartInterval"}),
    "HostConfig.BlkioWeightDevice[]": frozenset({"Path", "Weight"}),
    "HostConfig.BlkioDeviceReadBps[]": _RATE,
    "HostConfig.BlkioDeviceWriteBps[]": _RATE,
    "HostConfig.BlkioDeviceReadIOps[]": _RATE,
    "HostConfig.BlkioDeviceWriteIOps[]": _RATE,
    "HostConfig.Devices[]": frozenset({"PathOnHost", "PathInContainer", "CgroupPermissions"}),
    "HostConfig.DeviceRequests[]": frozenset({"Driver", "Count", "DeviceIDs", "Capabilities", "Options"}),
    "HostConfig.Ulimits[]": frozenset({"Name", "Soft", "Hard"}),
    "HostConfig.LogConfig": frozenset({"Type", "Config"}),
    "HostConfig.PortBindings{}[]": frozenset({"HostIp", "HostPort"}),
    "HostConfig.RestartPolicy": frozenset({"Name", "MaximumRetryCount"}),
    "HostConfig.Mounts[]": frozenset(
        {
            "Type", "Source", "Target", "ReadOnly", "Consistency",
            "BindOptions", "VolumeOptions", "ImageOptions", "TmpfsOptions",
        }
    ),
    "HostConfig.Mounts[].BindOptions": frozenset(
        {"Propagation", "NonRecursive", "CreateMountpoint", "ReadOnlyNonRecursive", "ReadOnlyForceRecursive"}
    ),
    "HostConfig.Mounts[].VolumeOptions": frozenset({"NoCopy", "Labels", "DriverConfig", "Subpath"}),
    "HostConfig.Mounts[].VolumeOptions.DriverConfig": frozenset({"Name", "Options"}),
    "HostConfig.Mounts[].ImageOptions": frozenset({"Subpath"}),
    "HostConfig.Mounts[].TmpfsOptions": frozenset({"SizeBytes", "Mode", "Options"}),
    "NetworkingConfig": frozenset({"EndpointsConfig"}),
    "NetworkingConfig.EndpointsConfig{}": frozenset(
        {
            "IPAMConfig", "Links", "Aliases", "MacAddress", "DriverOpts", "GwPriority",
            # What inspect tells, and clients such as compose send back: an answer, and no wish.
            "NetworkID", "EndpointID", "Gateway", "IPAddress", "IPPrefixLen",
            "IPv6Gateway", "GlobalIPv6Address", "GlobalIPv6PrefixLen", "DNSNames",
        }
    ),
    "NetworkingConfig.EndpointsConfig{}.IPAMConfig": frozenset(
        {"IPv4Address", "IPv6Address", "LinkLocalIPs"}
    ),
}  # fmt: skip

#: A mount here is always consistent, which is more than the last two ask for.
CONSISTENCIES: Final = frozenset({"", "default", "consistent", "cached", "delegated"})

#: Everything that leads to one of INNER.
_WAYS: Final = frozenset(
    pattern[:end]
    for pattern in INNER
    for end in range(len(pattern) + 1)
    if end == len(pattern) or pattern[end] in ".[{"
)


def warnings(body: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each field that nobody knows and for each word that means nothing."""
    for key, value in body.items():
        yield from _look(value, key, key)


def _look(value: Any, pattern: str, where: str) -> Iterator[str]:
    if pattern not in _WAYS:
        return
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _look(item, f"{pattern}[]", f"{where}[{index}]")
    elif isinstance(value, dict) and f"{pattern}{{}}" in _WAYS:
        for key, item in value.items():
            yield from _look(item, f"{pattern}{{}}", f"{where}.{key[:64]}")
    elif isinstance(value, dict):
        known = INNER.get(pattern)
        for key, item in value.items():
            if known is not None and key not in known:
                if item:
                    yield f"{where}.{key[:64]}: is not known here and changes nothing"
            elif (pattern, key) == ("HostConfig.Mounts[]", "Consistency"):
                if isinstance(item, str) and item.lower() not in CONSISTENCIES:
                    yield f'{where}.{key}: "{item[:64]}" is not known; mounts here are always consistent'
            else:
                yield from _look(item, f"{pattern}.{key}", f"{where}.{key}")
