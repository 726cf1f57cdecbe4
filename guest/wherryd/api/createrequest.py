"""The body of `POST /containers/create` as its version of the API means it, in the newest one's words.

Most of it is in the table (history.CREATE); here is what one field makes of another. What has a wrong shape
is left as it is: containers/request.py refuses it by name. Source: Engine API, "Version history", 1.44 to
1.48; dockerd's ways with older clients.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from wherryd.api import gates, history
from wherryd.api.gates import Document, Version
from wherryd.errors import InvalidParameter
from wherryd.networks.deviceoptions import PLACEHOLDER, SYSCTLS

_MAC_IS_OLD: Final = (
    "The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig "
    "instead."
)
_VOLUME_DRIVER: Final = (
    "WARNING: the container-wide volume-driver configuration is ignored for volumes specified via 'mount'. "
    "Use '--mount type=volume,volume-driver=...' instead"
)


def read(body: Mapping[str, Any], version: Version, *, cgroup_version: int) -> tuple[Document, list[str]]:
    """The body, which may be changed further, and warnings. Raises InvalidParameter for what the version
    refuses."""
    document = dict(body)
    for key in ("HostConfig", "NetworkingConfig"):
        if document.get(key) is None:
            document[key] = {}
    _runtime(document)
    rows = history.CREATE + (history.CREATE_ON_CGROUP_1 if cgroup_version == 1 else ())
    document = gates.fit(document, rows, version)
    if not isinstance(document["HostConfig"], dict) or not isinstance(document["NetworkingConfig"], dict):
        return document, []
    host = document["HostConfig"] = dict(document["HostConfig"])
    mounts = list(_objects(host.get("Mounts")))
    if version < history.IMAGE_MOUNTS and any(mount.get("Type") == "image" for mount in mounts):
        raise InvalidParameter('Mount type "Image" needs API v1.48 or newer')
    networks = _Networks(document, version)
    told = [
        _volume_driver(host, mounts, version),
        _mac_address(document, networks, version),
        _device_sysctls(host, networks, version),
    ]
    document["NetworkingConfig"] = {**document["NetworkingConfig"], "EndpointsConfig": networks.endpoints}
    return document, [each for each in told if each]


def _objects(value: Any) -> Iterator[Document]:
    """Those in a list, or the values of a map."""
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (each for each in values if isinstance(each, dict))


def _runtime(document: Document) -> None:
    """docker-py's create_container(runtime=...) puts it beside HostConfig, where dockerd does not look."""
    if "Runtime" in document and isinstance(document["HostConfig"], dict):
        document["HostConfig"] = {"Runtime": document.pop("Runtime"), **document["HostConfig"]}


class _Networks:
    """What the container shall be on. endpoints: NetworkingConfig.EndpointsConfig, to be changed in place."""

    def __init__(self, document: Document, version: Version) -> None:
        """Raises InvalidParameter for more of them than the version knows."""
        given = document["NetworkingConfig"].get("EndpointsConfig")
        self.endpoints: Any = given if not isinstance(given, dict) else _copied(given)
        mode = document["HostConfig"].get("NetworkMode")
        #: "bridge" for the default one.
        self.mode = mode if isinstance(mode, str) and mode not in ("", "default") else "bridge"
        if document.get("NetworkDisabled"):
            self.mode = "none"
        self._version = version
        if version < history.ENDPOINTS_AT_CREATE and len(self.endpoints or ()) > 1:
            raise InvalidParameter(
                f"Container cannot be created with multiple network endpoints: {', '.join(self.endpoints)} "
                "(hint: connect it to the others afterwards, or use API v1.44 or newer)"
            )

    @property
    def is_shared(self) -> bool:
        """Whether the network stack is somebody else's."""
        return self.mode == "host" or self.mode.startswith("container:")

    def first(self) -> Document:
        """The settings of the network that NetworkMode names, made where there are none. Raises
        InvalidParameter where they cannot be told among others."""
        made: Document = {}
        if not self.endpoints:
            self.endpoints = {self.mode: made}
        if not isinstance(self.endpoints, dict):
            return made
        names = [name for name in self.endpoints if ("bridge" if name == "default" else name) == self.mode]
        if self._version < history.ENDPOINTS_AT_CREATE:
            names = list(self.endpoints)
        if not names:
            raise InvalidParameter(
                "HostConfig.NetworkMode must match the identity of a network in NetworkSettings.Networks"
            )
        settings = self.endpoints[names[0]]
        return settings if isinstance(settings, dict) else made


def _copied(endpoints: Mapping[str, Any]) -> Document:
    return {
        name: dict(settings or {}) if isinstance(settings or {}, dict) else settings
        for name, settings in endpoints.items()
    }


def _volume_driver(host: Document, mounts: list[Document], version: Version) -> str:
    if not host.get("VolumeDriver") or version < history.VOLUME_DRIVER_IS_WARNED_OF:
        return ""
    for mount in mounts:
        options = mount.get("VolumeOptions")
        driver = options.get("DriverConfig") if isinstance(options, dict) else None
        if mount.get("Type") == "volume" and not (isinstance(driver, dict) and driver.get("Name")):
            return _VOLUME_DRIVER
    return ""


def _mac_address(document: Document, networks: _Networks, version: Version) -> str:
    """Brings the container's own MAC address to its first network, where it is since 1.44."""
    address = document.get("MacAddress")
    is_old = version < history.ENDPOINTS_AT_CREATE
    if not address:
        if is_old:
            for settings in _objects(networks.endpoints):
                settings.pop("MacAddress", None)
        return ""
    if networks.is_shared or networks.mode == "none":
        if is_old:
            raise InvalidParameter("conflicting options: mac-address and the network mode")
    else:
        settings = networks.first()
        if not is_old and settings.get("MacAddress") not in (None, "", address):
            raise InvalidParameter(
                "the container-wide MAC address must match the endpoint-specific MAC address for the main "
                "network, or be left empty"
            )
        settings["MacAddress"] = address
    if is_old:
        return ""
    document["MacAddress"] = ""
    return _MAC_IS_OLD


def _device_sysctls(host: Document, networks: _Networks, version: Version) -> str:
    """Brings sysctls of eth0 to the first network, where they are since 1.46: only there it is known which
    device is meant. Raises InvalidParameter, from 1.48 on for each."""
    sysctls = host.get("Sysctls")
    if not isinstance(sysctls, dict) or networks.is_shared:
        return ""
    moved: dict[str, str] = {}
    for key, value in sysctls.items():
        parts = key.split(".", 4)
        if len(parts) < 5 or parts[0] != "net" or not parts[3].startswith("eth"):
            continue
        if version >= history.DEVICE_SYSCTLS_BY_ENDPOINT:
            raise InvalidParameter(
                f'interface specific sysctl setting "{key}" must be supplied using driver option '
                f"'{SYSCTLS}' (hint: --network name=NETWORK,driver-opt={SYSCTLS}=...)"
            )
        if parts[3] != "eth0":
            raise InvalidParameter(
                f"unable to determine network endpoint for sysctl {key}, use driver option '{SYSCTLS}' to "
                "set per-interface sysctls"
            )
        moved[key] = f"net.{parts[1]}.{parts[2]}.{PLACEHOLDER}.{parts[4]}={value}"
    settings = networks.first() if moved else {}
    options = settings.get("DriverOpts") or {}
    if not moved or not isinstance(options, dict):
        return ""
    words = ",".join(moved.values())
    # What is said of the endpoint comes later, and so it counts.
    together = ",".join(filter(None, (words, options.get(SYSCTLS))))
    settings["DriverOpts"] = {**options, SYSCTLS: together}
    host["Sysctls"] = {key: value for key, value in sysctls.items() if key not in moved}
    return f'Migrated sysctl "{",".join(moved)}" to DriverOpts{{"{SYSCTLS}":"{words}"}}.'
