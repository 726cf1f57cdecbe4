"""One container of GET /containers/json -> the fields of `ps`."""

from collections.abc import Iterable, Mapping
from typing import Any

from wherry.cli import references
from wherry.cli.output import units
from wherry.cli.output.table import ellipsis
from wherry.cli.output.values import NilPointer, Platform, Row, quote

HEADERS = {
    "ID": "CONTAINER ID",
    "Names": "NAMES",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "CreatedAt": "CREATED AT",
    "RunningFor": "CREATED",
    "Ports": "PORTS",
    "State": "STATE",
    "Status": "STATUS",
    "Size": "SIZE",
    "Labels": "LABELS",
    "Mounts": "MOUNTS",
    "LocalVolumes": "LOCAL VOLUMES",
    "Networks": "NETWORKS",
    "Platform": "PLATFORM",
}
RAW = (
    "container_id: {{.ID}}\nimage: {{.Image}}\ncommand: {{.Command}}\ncreated_at: {{.CreatedAt}}\n"
    "state: {{- pad .State 1 0}}\nstatus: {{- pad .Status 1 0}}\nnames: {{.Names}}\n"
    "labels: {{- pad .Labels 1 0}}\nports: {{- pad .Ports 1 0}}\n"
)
SHORT_ID = 12
COMMAND_WIDTH = 20
MOUNT_WIDTH = 15


def short_id(identifier: str) -> str:
    """sha256:cdf272bc1ebe9d... -> cdf272bc1ebe."""
    return identifier.rpartition(":")[2][:SHORT_ID]


def row(item: Mapping[str, Any], *, truncate: bool) -> Row:
    """item: a ContainerSummary of the API."""
    labels: dict[str, str] = item.get("Labels") or {}
    mounts = item.get("Mounts") or []
    networks = (item.get("NetworkSettings") or {}).get("Networks") or {}
    created = item.get("Created") or 0
    command = item.get("Command") or ""
    return Row(
        {
            "ID": short_id(item["Id"]) if truncate else item["Id"],
            "Names": _names(item.get("Names") or [], truncate),
            "Image": _image(item, truncate),
            "Command": quote(ellipsis(command, COMMAND_WIDTH) if truncate else command),
            "CreatedAt": units.timestamp(created),
            "RunningFor": units.ago(created),
            "Ports": ports(item.get("Ports") or []),
            "State": item.get("State") or "",
            "Status": item.get("Status") or "",
            "Size": _size(item),
            "Labels": ",".join(sorted(f"{key}={value}" for key, value in labels.items())),
            "Mounts": ",".join(_mount(mount, truncate) for mount in mounts),
            "LocalVolumes": str(sum(mount.get("Driver") == "local" for mount in mounts)),
            "Networks": ",".join(networks),
            "Platform": _platform(item.get("ImageManifestDescriptor") or {}),
        },
        {"Label": lambda name: labels.get(name, "")},
    )


def _platform(descriptor: Mapping[str, Any]) -> Any:
    """The platform of the container's image, from API 1.48 on."""
    found = descriptor.get("platform")
    return Platform(found) if found else NilPointer()


def _names(names: list[str], truncate: bool) -> str:
    bare = [name.removeprefix("/") for name in names]
    if truncate:
        # A name with a slash inside is another container's link to this one.
        return next((name for name in bare if "/" not in name), "")
    return ",".join(bare)


def _image(item: Mapping[str, Any], truncate: bool) -> str:
    image: str = item.get("Image") or ""
    if not image:
        return "<no image>"
    if not truncate:
        return image
    if short_id(item.get("ImageID") or "") == short_id(image):
        return short_id(image)
    name, at, _ = image.partition("@")
    return references.familiar(name if at else image)


def _size(item: Mapping[str, Any]) -> str:
    written = units.size(item.get("SizeRw") or 0, 3)
    whole = item.get("SizeRootFs") or 0
    return f"{written} (virtual {units.size(whole, 3)})" if whole else written


def _mount(mount: Mapping[str, Any], truncate: bool) -> str:
    name: str = mount.get("Name") or mount.get("Source") or ""
    return ellipsis(name, MOUNT_WIDTH) if truncate else name


def ports(items: Iterable[Mapping[str, Any]]) -> str:
    """`0.0.0.0:80->80/tcp, 9988/tcp`. Neighbouring ports with one address join to a range."""
    ranges: dict[tuple[str, str], list[list[int]]] = {}
    mapped: list[str] = []
    for item in sorted(items, key=_port_order):
        private, kind, address = item["PrivatePort"], item["Type"], item.get("IP") or ""
        if address and item.get("PublicPort") != private:
            mapped.append(f"{_host(address)}:{item.get('PublicPort', 0)}->{private}/{kind}")
            continue
        found = ranges.setdefault((address, kind), [])
        if found and private == found[-1][1] + 1:
            found[-1][1] = private
        else:
            found.append([private, private])
    # Docker prints the ranges that were closed first, then the last one of each group.
    closed = [(key, span) for key, spans in ranges.items() for span in spans[:-1]]
    closed.sort(key=lambda entry: entry[1])
    last = [(key, spans[-1]) for key, spans in ranges.items()]
    return ", ".join([_range(key, span) for key, span in closed + last] + mapped)


def _range(key: tuple[str, str], span: list[int]) -> str:
    address, kind = key
    shown = str(span[0]) if span[0] == span[1] else f"{span[0]}-{span[1]}"
    return f"{_host(address)}:{shown}->{shown}/{kind}" if address else f"{shown}/{kind}"


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _port_order(item: Mapping[str, Any]) -> tuple[int, tuple[int, int], int, str]:
    import ipaddress  # seldom needed

    address = item.get("IP") or ""
    number = ipaddress.ip_address(address) if address else None
    order = (number.version, int(number)) if number else (0, 0)
    return item["PrivatePort"], order, item.get("PublicPort") or 0, item["Type"]
