"""A container in the Engine API's words: the object of `GET /containers/{id}/json`, and parts of it.

Source: Engine API 1.51, ContainerInspectResponse; the flat fields of NetworkSettings are part of it
up to 1.51.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wherryd.containers import networking, ports
from wherryd.containers.record import ContainerRecord, MountPoint
from wherryd.containers.state import Status
from wherryd.containers.store import Container
from wherryd.networks.sandbox import Attachment, Sandbox
from wherryd.spec import defaults, securityoptions


def state(record: ContainerRecord) -> dict[str, Any]:
    document = {
        "Status": str(record.status),
        # For docker a paused and a restarting container run too.
        "Running": record.alive or record.status is Status.RESTARTING,
        "Paused": record.status is Status.PAUSED,
        "Restarting": record.status is Status.RESTARTING,
        "OOMKilled": record.oom_killed,
        "Dead": record.status is Status.DEAD,
        "Pid": record.pid,
        "ExitCode": record.exit_code,
        "Error": record.error,
        "StartedAt": record.started_at,
        "FinishedAt": record.finished_at,
    }
    return document if record.health is None else {**document, "Health": dict(record.health)}


def inspect(
    container: Container,
    *,
    folder: Path,
    storage_driver: str,
    exec_ids: list[str],
    size_rw: int | None,
    size_root: int | None,
) -> dict[str, Any]:
    record = container.record
    document: dict[str, Any] = {
        "Id": record.id,
        "Created": record.created,
        "Path": record.path,
        "Args": list(record.args),
        "State": state(record),
        "Image": record.image_id,
        "ResolvConfPath": str(folder / "resolv.conf"),
        "HostnamePath": str(folder / "hostname"),
        "HostsPath": str(folder / "hosts"),
        "LogPath": record.log_path,
        "Name": f"/{record.name}",
        "RestartCount": record.restart_count,
        "Driver": storage_driver,
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": securityoptions.value(record.host_config["SecurityOpt"], "apparmor"),
        "ExecIDs": exec_ids or None,
        "HostConfig": host_config(record),
        "GraphDriver": {"Data": None, "Name": storage_driver},
        "Mounts": [mount_point(point) for point in record.mounts],
        "Config": config(record),
        "NetworkSettings": network_settings(record, container.sandbox),
    }
    if size_rw is not None:
        document["SizeRw"] = size_rw
        document["SizeRootFs"] = (size_root or 0) + size_rw
    return document


def config(record: ContainerRecord) -> dict[str, Any]:
    """Config as dockerd prints it: some empty fields are left out."""
    document = dict(record.config)
    if not document.get("MacAddress"):
        # Where clients from before endpoints had one look for it.
        main = record.endpoints.get(networking.primary(record)) or {}
        document["MacAddress"] = main.get("MacAddress", "")
    for key in (
        "ExposedPorts",
        "MacAddress",
        "StopSignal",
        "StopTimeout",
        "Shell",
        "Healthcheck",
        "ArgsEscaped",
    ):
        if not document.get(key) and document.get(key) != 0:
            document.pop(key, None)
    for key in ("ArgsEscaped", "NetworkDisabled"):
        if not document.get(key):
            document.pop(key, None)
    return document


def host_config(record: ContainerRecord) -> dict[str, Any]:
    document = dict(record.host_config)
    if not record.host_config["Privileged"]:
        document["MaskedPaths"] = _given_or(document["MaskedPaths"], defaults.MASKED_PATHS)
        document["ReadonlyPaths"] = _given_or(document["ReadonlyPaths"], defaults.READONLY_PATHS)
    for key in ("Annotations", "Init", "StorageOpt", "Sysctls", "Tmpfs", "Mounts"):
        if document.get(key) is None:
            document.pop(key, None)
    for key in ("KernelMemory", "KernelMemoryTCP"):
        if not document.get(key):
            document.pop(key, None)
    return document


def _given_or(given: list[str] | None, default: tuple[str, ...]) -> list[str]:
    return list(default) if given is None else list(given)


def mount_point(point: MountPoint) -> dict[str, Any]:
    document: dict[str, Any] = {
        "Type": point.type,
        "Source": point.source,
        "Destination": point.destination,
        "Mode": point.mode,
        "RW": point.rw,
        "Propagation": point.propagation,
    }
    if point.type == "volume":
        document |= {"Name": point.name, "Driver": point.driver}
    elif point.type == "image":
        document["Name"] = point.name
    return document


def network_settings(record: ContainerRecord, sandbox: Sandbox | None) -> dict[str, Any]:
    joined = record.network_mode.startswith("container:")
    networks = {
        name: endpoint_settings(given, sandbox.on(name) if sandbox else None)
        for name, given in networking.endpoints(record).items()
    }
    return {
        # The default network's address, as old clients look for it.
        **_flat(sandbox.on("bridge") if sandbox else None),
        "Bridge": "",
        "SandboxID": sandbox.sandbox_id if sandbox and not joined else "",
        "SandboxKey": sandbox.key if sandbox else "",
        "Ports": ports.port_map(record.config, sandbox) if sandbox else {},
        "Networks": networks,
    }


def _flat(attachment: Attachment | None) -> dict[str, Any]:
    return {
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        "EndpointID": attachment.endpoint_id if attachment else "",
        "Gateway": attachment.gateway if attachment else "",
        "GlobalIPv6Address": attachment.ip6 if attachment else "",
        "GlobalIPv6PrefixLen": attachment.prefix_length6 if attachment else 0,
        "IPAddress": attachment.ip if attachment else "",
        "IPPrefixLen": attachment.prefix_length if attachment else 0,
        "IPv6Gateway": attachment.gateway6 if attachment else "",
        "MacAddress": attachment.mac if attachment else "",
    }


def endpoint_settings(given: Mapping[str, Any], attachment: Attachment | None) -> dict[str, Any]:
    """EndpointSettings: what the user gave, and what the network gave while it runs."""
    names = attachment.dns_names if attachment else ()
    return {
        "IPAMConfig": given.get("IPAMConfig"),
        "Links": given.get("Links"),
        "Aliases": given.get("Aliases"),
        "MacAddress": attachment.mac if attachment else given.get("MacAddress", ""),
        "DriverOpts": given.get("DriverOpts"),
        "GwPriority": given.get("GwPriority", 0),
        "NetworkID": attachment.network_id if attachment else given.get("NetworkID", ""),
        "EndpointID": attachment.endpoint_id if attachment else "",
        "Gateway": attachment.gateway if attachment else "",
        "IPAddress": attachment.ip if attachment else "",
        "IPPrefixLen": attachment.prefix_length if attachment else 0,
        "IPv6Gateway": attachment.gateway6 if attachment else "",
        "GlobalIPv6Address": attachment.ip6 if attachment else "",
        "GlobalIPv6PrefixLen": attachment.prefix_length6 if attachment else 0,
        "DNSNames": list(names) or None,
    }
