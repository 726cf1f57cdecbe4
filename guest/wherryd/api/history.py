"""What the Engine API has since when: the one table of it. How rows work: gates.py.

The engine speaks the newest version; nothing but this table, and the few shims that it names, knows others. A
row's version is the one whose notes tell of the change. Source: Engine API, "Version history", and what
dockerd 28 does with requests of older versions, which is not always the same.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from wherryd.api.gates import Before, Document, Row, Since, Until, Version
from wherryd.http.messages import Query

# Behaviour: versions from which it is so.

#: A WebSocket's output comes in binary messages; before, as text.
WEBSOCKET_IS_BINARY: Final = (1, 28)
#: GET /networks tells of no containers.
NETWORKS_WITHOUT_CONTAINERS: Final = (1, 28)
#: Wait answers with its head at once, and with the code later; before, with both when it knows.
WAIT_IN_TWO_STEPS: Final = (1, 30)
#: POST /build tells of the image in a line `aux`.
BUILD_AUX: Final = (1, 30)
#: Who waits for the removal is told that it failed; before, the answer broke off.
WAIT_TELLS_OF_REMOVAL: Final = (1, 34)
#: Content-Type says whether a stream is multiplexed.
MULTIPLEXED_TYPE: Final = (1, 42)
#: A WebSocket has the streams that were asked for; before, all of them.
WEBSOCKET_STREAMS: Final = (1, 42)
#: A prune of volumes takes those without a name; before, named ones too.
PRUNE_OF_ANONYMOUS_VOLUMES: Final = (1, 42)
#: What is mounted below a read-only bind is read-only, too.
RECURSIVE_READ_ONLY: Final = (1, 44)
#: A container may be created on several networks, and a MAC address belongs to one of them.
ENDPOINTS_AT_CREATE: Final = (1, 44)
#: Exec of a program that is not there ends with 127, as a container does: dockerd's since its release 28;
#: before, with 126, whatever it was that did not start.
EXEC_OF_NOTHING_IS_127: Final = (1, 48)
#: A sysctl of a device belongs to an endpoint; before, one of eth0 was taken for the first endpoint's.
DEVICE_SYSCTLS_BY_ENDPOINT: Final = (1, 48)
#: Images can be mounted.
IMAGE_MOUNTS: Final = (1, 48)
#: VolumeDriver is warned of where it does not reach the volumes of Mounts.
VOLUME_DRIVER_IS_WARNED_OF: Final = (1, 48)

#: Route -> its parameters. Versions that do not have one are deaf to it.
PARAMETERS: Final[Mapping[str, tuple[Since | Until, ...]]] = {
    "GET /containers/json": (Until((1, 25), "before"), Until((1, 25), "since")),
    "POST /containers/create": (Since((1, 41), "platform"),),
    "POST /containers/{id}/stop": (Since((1, 42), "signal"),),
    "POST /containers/{id}/restart": (Since((1, 42), "signal"),),
    "POST /containers/{id}/wait": (Since((1, 30), "condition"),),
    "GET /containers/{id}/stats": (Since((1, 41), "one-shot"),),
    "POST /images/create": (Since((1, 32), "platform"),),
    "GET /images/json": (
        Until((1, 41), "filter"),
        Since((1, 42), "shared-size"),
        Since((1, 47), "manifests"),
    ),
    "POST /images/load": (Since((1, 48), "platform"),),
    "GET /images/get": (Since((1, 48), "platform"),),
    "GET /images/{name}/get": (Since((1, 48), "platform"),),
    "GET /images/{name}/history": (Since((1, 48), "platform"),),
    "GET /images/{name}/json": (Since((1, 48), "manifests"), Since((1, 49), "platform")),
    "POST /images/{name}/push": (Since((1, 46), "platform"),),
    "DELETE /images/{name}": (Since((1, 50), "platforms"),),
    "POST /build": (Since((1, 32), "platform"), Since((1, 40), "outputs")),
    "POST /build/prune": (
        Since((1, 48), "reserved-space"),
        Since((1, 48), "max-used-space"),
        Since((1, 48), "min-free-space"),
    ),
    "GET /system/df": (Since((1, 42), "type"),),
    "DELETE /volumes/{name}": (Since((1, 25), "force"),),
}


def parameters(route: str, query: Query, version: Version) -> Query:
    """route: "POST /containers/{id}/stop"."""
    unknown = {row.path for row in PARAMETERS.get(route, ()) if row.applies(version)}
    return query.without(unknown) if not unknown.isdisjoint(query) else query


# Requests, as fields of their bodies.

_MOUNTS: Final = "HostConfig.Mounts.*"
_ENDPOINTS: Final = "NetworkingConfig.EndpointsConfig.*"


def _kept_if(kind: str, block: str) -> Before:
    """Before 1.42 options for another kind of mount were not looked at."""
    return Before(
        (1, 42), f"{_MOUNTS}.{block}", lambda mount: mount.get(block) if mount.get("Type") == kind else None
    )


CREATE: Final[tuple[Row, ...]] = (
    # Who wants it gone removes it, up to 1.24.
    Since((1, 25), "HostConfig.AutoRemove"),
    Since((1, 40), f"{_MOUNTS}.BindOptions.NonRecursive"),
    Since((1, 40), "HostConfig.KernelMemoryTCP"),
    Before((1, 40), "HostConfig.IpcMode", lambda host: host.get("IpcMode") or "shareable"),
    Since((1, 42), f"{_MOUNTS}.BindOptions.CreateMountpoint"),
    _kept_if("volume", "VolumeOptions"),
    _kept_if("tmpfs", "TmpfsOptions"),
    # Docker's clients of then gave a size without meaning it.
    Since((1, 42), "HostConfig.ConsoleSize"),
    Since((1, 43), "HostConfig.Annotations"),
    Since((1, 44), "Healthcheck.StartInterval"),
    # A client that counts on it would not notice that it is not heeded.
    Since(
        (1, 44),
        f"{_MOUNTS}.BindOptions.ReadOnlyForceRecursive",
        "BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer",
    ),
    Since((1, 45), f"{_MOUNTS}.VolumeOptions.Subpath", "VolumeOptions.Subpath needs API v1.45 or newer"),
    Since((1, 48), f"{_ENDPOINTS}.GwPriority"),
)
#: On a machine with cgroup v1 a container of an older client has the host's cgroup namespace.
CREATE_ON_CGROUP_1: Final[tuple[Row, ...]] = (
    Before((1, 41), "HostConfig.CgroupnsMode", lambda host: host.get("CgroupnsMode") or "host"),
)
UPDATE: Final[tuple[Row, ...]] = (Since((1, 40), "PidsLimit"),)
EXEC_CREATE: Final[tuple[Row, ...]] = (Since((1, 42), "ConsoleSize"),)
EXEC_START: Final[tuple[Row, ...]] = (Since((1, 42), "ConsoleSize"),)
CONNECT: Final[tuple[Row, ...]] = (
    Since((1, 44), "EndpointConfig.MacAddress"),
    Since((1, 48), "EndpointConfig.GwPriority"),
)
NETWORK_CREATE: Final[tuple[Row, ...]] = (Since((1, 48), "EnableIPv4"),)

# Answers.

_SHORT_ID: Final = 12
#: Networks that every engine has: names do not resolve on them.
_BUILT_IN: Final = frozenset({"bridge", "default", "host", "none"})


def _with_own_names(container: Document) -> Document:
    """Before 1.45 aliases are also what a container is found under by itself; DNSNames has it since 1.44."""
    own = (container["Id"][:_SHORT_ID], container["Config"]["Hostname"])
    settings = container["NetworkSettings"]
    networks = {
        name: endpoint
        if name in _BUILT_IN
        else {**endpoint, "Aliases": list(dict.fromkeys([*(endpoint["Aliases"] or ()), *filter(None, own)]))}
        for name, endpoint in settings["Networks"].items()
    }
    return {**settings, "Networks": networks}


def _without_images(holder: Document) -> Any:
    """Clients that know nothing of image mounts may read no other type than those of their version."""
    mounts = holder.get("Mounts")
    return [each for each in mounts if each["Type"] != "image"] if mounts else mounts


def _without_image_wishes(container: Document) -> Document:
    host: Document = container["HostConfig"]
    return {**host, "Mounts": _without_images(host)} if host.get("Mounts") else host


CONTAINER: Final[tuple[Row, ...]] = (
    Before(IMAGE_MOUNTS, "Mounts", _without_images),
    Before(IMAGE_MOUNTS, "HostConfig", _without_image_wishes),
    Since((1, 40), "HostConfig.Mounts.*.BindOptions.NonRecursive"),
    Until((1, 42), "HostConfig.KernelMemory"),
    Before((1, 42), "HostConfig.KernelMemory", lambda host: host.get("KernelMemory", 0)),
    Before((1, 42), "HostConfig.KernelMemoryTCP", lambda host: host.get("KernelMemoryTCP", 0)),
    Since((1, 40), "HostConfig.KernelMemoryTCP"),
    Since((1, 40), "HostConfig.DeviceRequests"),
    Since((1, 41), "HostConfig.CgroupnsMode"),
    Since((1, 42), "HostConfig.Mounts.*.BindOptions.CreateMountpoint"),
    Since((1, 43), "HostConfig.Annotations"),
    Since((1, 44), "Config.Healthcheck.StartInterval"),
    Since((1, 44), "HostConfig.Mounts.*.BindOptions.ReadOnlyNonRecursive"),
    Since((1, 44), "HostConfig.Mounts.*.BindOptions.ReadOnlyForceRecursive"),
    Since((1, 44), "NetworkSettings.Networks.*.DNSNames"),
    Before((1, 45), "NetworkSettings", _with_own_names),
    Since((1, 45), "HostConfig.Mounts.*.VolumeOptions.Subpath"),
    Since((1, 46), "HostConfig.Mounts.*.TmpfsOptions.Options"),
    Since((1, 48), "NetworkSettings.Networks.*.GwPriority"),
    Since((1, 48), "ImageManifestDescriptor"),
)
CONTAINERS: Final[tuple[Row, ...]] = (
    Before(IMAGE_MOUNTS, "Mounts", _without_images),
    Since((1, 44), "NetworkSettings.Networks.*.DNSNames"),
    Since((1, 46), "HostConfig.Annotations"),
    Since((1, 48), "NetworkSettings.Networks.*.GwPriority"),
    Since((1, 48), "ImageManifestDescriptor"),
)

# Before 1.50 an image's Config was a container's: with the fields that only a container can have.
_CONTAINER_FIELDS: Final[Document] = {
    "Hostname": "",
    "Domainname": "",
    "User": "",
    "AttachStdin": False,
    "AttachStdout": False,
    "AttachStderr": False,
    "Tty": False,
    "OpenStdin": False,
    "StdinOnce": False,
    "Env": None,
    "Cmd": None,
    "Image": "",
    "Volumes": None,
    "WorkingDir": "",
    "Entrypoint": None,
    "OnBuild": None,
    "Labels": None,
}
_ONLY_OF_CONTAINERS: Final = (
    *("AttachStderr", "AttachStdin", "AttachStdout", "Domainname", "Hostname", "Image", "MacAddress"),
    *("NetworkDisabled", "OpenStdin", "StdinOnce", "StopTimeout", "Tty"),
)


def container_config(config: Mapping[str, Any]) -> Document:
    """An image's config as that of a container, every field there."""
    return {**_CONTAINER_FIELDS, **config}


def _size(image: Document) -> int:
    return int(image["Size"])


IMAGE: Final[tuple[Row, ...]] = (
    Since((1, 31), "Metadata"),
    Before((1, 44), "VirtualSize", _size),
    Before((1, 44), "Created", lambda image: image["Created"] or "0001-01-01T00:00:00Z"),
    Since((1, 48), "Descriptor"),
    Until((1, 45), "Container"),
    Until((1, 45), "ContainerConfig"),
    Before((1, 50), "Config", lambda image: container_config(image["Config"])),
    # An image that dockerd committed has a whole container's config in it.
    *(Until((1, 50), f"Config.{field}") for field in _ONLY_OF_CONTAINERS),
)


_NO_TAGS: Final = ["<none>:<none>"]


def _tags(image: Document) -> list[str]:
    return list(image["RepoTags"]) if image["RepoTags"] or image["RepoDigests"] else _NO_TAGS


def _digests(image: Document) -> list[str]:
    """Its tags have been looked after."""
    return ["<none>@<none>"] if image["RepoTags"] == _NO_TAGS else list(image["RepoDigests"])


IMAGES: Final[tuple[Row, ...]] = (
    Before((1, 43), "RepoTags", _tags),
    Before((1, 43), "RepoDigests", _digests),
    Before((1, 44), "VirtualSize", _size),
    Since((1, 48), "Descriptor"),
    # Its description has no more of a descriptor than this.
    *(Since((1, 48), f"Manifests.*.Descriptor.{field}") for field in ("annotations", "platform")),
    Before((1, 51), "Containers", -1),
)

NETWORK: Final[tuple[Row, ...]] = (
    # Its notes say 1.48; its description has it from here.
    Since((1, 47), "EnableIPv4"),
)
VOLUME: Final[tuple[Row, ...]] = (Since((1, 31), "CreatedAt"),)


def _names_alone(info: Document) -> list[str]:
    """Before 1.25: "name=seccomp,profile=builtin" is "seccomp"."""
    return [option.partition(",")[0].removeprefix("name=") for option in info["SecurityOptions"]]


def _expected(commit: Document) -> str:
    return str(commit["ID"])


INFO: Final[tuple[Row, ...]] = (
    Before((1, 25), "SecurityOptions", _names_alone),
    Since((1, 25), "Isolation"),
    Before((1, 39), "KernelVersion", lambda info: info["KernelVersion"] or "<unknown>"),
    Before((1, 39), "OperatingSystem", lambda info: info["OperatingSystem"] or "<unknown>"),
    Since((1, 39), "Warnings"),
    Since((1, 40), "PidsLimit"),
    Since((1, 41), "CgroupVersion"),
    Before((1, 42), "KernelMemory", False),
    Before((1, 42), "KernelMemoryTCP", False),
    Since((1, 40), "KernelMemoryTCP"),
    Since((1, 44), "CDISpecDirs"),
    Since((1, 49), "FirewallBackend"),
    Before((1, 49), "RegistryConfig.AllowNondistributableArtifactsCIDRs", None),
    Before((1, 49), "RegistryConfig.AllowNondistributableArtifactsHostnames", None),
    Before((1, 49), "ContainerdCommit.Expected", _expected),
    Before((1, 49), "RuncCommit.Expected", _expected),
    Before((1, 49), "InitCommit.Expected", _expected),
    # Its notes say 1.49; it is so from 1.50.
    Before((1, 50), "BridgeNfIptables", False),
    Before((1, 50), "BridgeNfIp6tables", False),
)
VERSION: Final[tuple[Row, ...]] = (
    Since((1, 25), "MinAPIVersion"),
    Since((1, 35), "Platform"),
    Since((1, 35), "Components"),
)


def _below(path: str, rows: Iterable[Row]) -> Iterator[Row]:
    """The same rows for documents inside of another one."""
    return (row.below(path) for row in rows)


def _builder_size(usage: Document) -> int:
    return sum(each["Size"] for each in usage.get("BuildCache", ()) if not each["Shared"])


DISK_USAGE: Final[tuple[Row, ...]] = (
    Before((1, 42), "BuilderSize", _builder_size),
    Before((1, 42), "BuildCache.*.Parent", lambda record: next(iter(record["Parents"]), "")),
    Since((1, 42), "BuildCache.*.Parents"),
    Before((1, 44), "Images.*.VirtualSize", _size),
    *_below("Containers.*", CONTAINERS),
    *_below("Volumes.*", VOLUME),
)

#: (type, action) of events, "*" for each type.
EVENTS: Final[Mapping[tuple[str, str], Version]] = {
    ("container", "exec_die"): (1, 36),
    ("*", "prune"): (1, 41),
    ("image", "create"): (1, 46),
}


def has_event(type_: str, action: str, version: Version) -> bool:
    """Whether clients of this version are told of such an event."""
    since = EVENTS.get((type_, action)) or EVENTS.get(("*", action))
    return since is None or version >= since
