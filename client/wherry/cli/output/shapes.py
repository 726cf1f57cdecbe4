"""Structs of docker's types that engines send with holes: all their fields, in Go's order, with Go's zeros.

`{{.State}}` prints every field of a struct, also those that JSON leaves out when they are empty. Only structs
without pointers to others are here: what Go prints of those is an address.

Source: the API's types as docker 28's client has them (docs of pkg github.com/docker/docker/api/types).
"""

from collections.abc import Collection, Mapping
from typing import Any

from wherry.cli.output.values import GoDuration, GoTime, NilList, NilMap, NilPointer

Shape = Mapping[str, Any]

_NIL, _LIST, _MAP = NilPointer(), NilList(), NilMap()

_STATE: Shape = {
    "Status": "", "Running": False, "Paused": False, "Restarting": False, "OOMKilled": False, "Dead": False,
    "Pid": 0, "ExitCode": 0, "Error": "", "StartedAt": "", "FinishedAt": "", "Health": _NIL,
}  # fmt: skip
_CONFIG: Shape = {
    "Hostname": "", "Domainname": "", "User": "", "AttachStdin": False, "AttachStdout": False,
    "AttachStderr": False, "ExposedPorts": _MAP, "Tty": False, "OpenStdin": False, "StdinOnce": False,
    "Env": _LIST, "Cmd": _LIST, "Healthcheck": _NIL, "ArgsEscaped": False, "Image": "", "Volumes": _MAP,
    "WorkingDir": "", "Entrypoint": _LIST, "NetworkDisabled": False, "MacAddress": "", "OnBuild": _LIST,
    "Labels": _MAP, "StopSignal": "", "StopTimeout": _NIL, "Shell": _LIST,
}  # fmt: skip
_HEALTHCHECK: Shape = {
    "Test": _LIST, "Interval": GoDuration(0), "Timeout": GoDuration(0), "StartPeriod": GoDuration(0),
    "StartInterval": GoDuration(0), "Retries": 0,
}  # fmt: skip
_IPAM_CONFIG: Shape = {"Subnet": "", "IPRange": "", "Gateway": "", "AuxiliaryAddresses": _MAP}
_NETWORK: Shape = {
    "Name": "", "Id": "", "Created": GoTime(""), "Scope": "", "Driver": "", "EnableIPv4": False,
    "EnableIPv6": False, "IPAM": _NIL, "Internal": False, "Attachable": False, "Ingress": False,
    "ConfigFrom": _NIL, "ConfigOnly": False, "Containers": _MAP, "Options": _MAP, "Labels": _MAP,
    "Peers": _LIST, "Services": _MAP,
}  # fmt: skip
_VOLUME: Shape = {
    "ClusterVolume": _NIL, "CreatedAt": "", "Driver": "", "Labels": _MAP, "Mountpoint": "", "Name": "",
    "Options": _MAP, "Scope": "", "Status": _MAP, "UsageData": _NIL,
}  # fmt: skip
_PLUGINS: Shape = {"Volume": _LIST, "Network": _LIST, "Authorization": _LIST, "Log": _LIST}
_SWARM: Shape = {
    "NodeID": "", "NodeAddr": "", "LocalNodeState": "", "ControlAvailable": False, "Error": "",
    "RemoteManagers": _LIST, "Nodes": 0, "Managers": 0, "Cluster": _NIL, "Warnings": _LIST,
}  # fmt: skip
_METADATA: Shape = {"LastTagTime": GoTime("")}
_COMMIT: Shape = {"ID": "", "Expected": ""}
#: Of info, only what engines leave out.
_INFO: Shape = dict.fromkeys(
    ("DefaultAddressPools", "Warnings", "CDISpecDirs", "DiscoveredDevices", "ClientErrors", "ServerErrors"),
    _LIST,
)

_BY_NAME: Mapping[str, Shape] = {
    "State": _STATE,
    "Healthcheck": _HEALTHCHECK,
    "Plugins": _PLUGINS,
    "Swarm": _SWARM,
    "Metadata": _METADATA,
}
#: A key that an object of its kind always has -> the kind.
_WHOLE: Mapping[str, Shape] = {"Mountpoint": _VOLUME, "IPAM": _NETWORK, "ServerVersion": _INFO}


def of(name: str, parent: str, keys: Collection[str]) -> Shape:
    """Of the object called name below parent ("" for the whole, and for an item of a list); {} if unknown."""
    if name in _BY_NAME:
        return _BY_NAME[name]
    if name == "Config" and "Hostname" in keys:
        return _CONFIG
    if name.endswith("Commit"):
        return _COMMIT if name != "ContainerdCommit" else {"ID": ""}
    if not name and parent == "Config":
        return _IPAM_CONFIG
    if not name and not parent:
        return next((shape for key, shape in _WHOLE.items() if key in keys), {})
    return {}
