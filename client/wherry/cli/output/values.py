"""What templates run on, and how Go would print it.

The engine answers JSON; Docker's own client reads it into Go structs and maps before it runs a template.
The difference shows: a struct prints without names, always counts as true, and has no missing fields. So
JSON objects that Docker keeps as structs become `Struct` here; its maps stay dicts.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

#: JSON fields that are maps in Docker's types; every other object is a struct.
MAP_FIELDS = frozenset(
    (
        *("Annotations", "AuxiliaryAddresses", "Containers", "Data", "Details", "DriverOpts", "ExposedPorts"),
        *("Labels", "Networks", "Options", "PortBindings", "Ports", "Runtimes", "StorageOpt"),
        *("Sysctls", "Tmpfs", "Volumes"),
    )
)
#: Map fields only inside this parent: `Config` is a struct in a container and a map in LogConfig.
_MAPS_BELOW = {("LogConfig", "Config")}

#: JSON fields that are lists; an engine sends null for an empty one.
LIST_FIELDS = frozenset(
    (
        *("Aliases", "Args", "Binds", "BlkioDeviceReadBps", "BlkioDeviceReadIOps", "BlkioDeviceWriteBps"),
        *("BlkioDeviceWriteIOps", "BlkioWeightDevice", "CapAdd", "CapDrop", "Cmd", "DNSNames", "Devices"),
        *(
            "DeviceCgroupRules",
            "DeviceRequests",
            "Dns",
            "DnsOptions",
            "DnsSearch",
            "Entrypoint",
            "Env",
            "ExecIDs",
        ),
        *("ExtraHosts", "GroupAdd", "Layers", "LinkLocalIPs", "Links", "MaskedPaths", "Mounts", "OnBuild"),
        *("ReadonlyPaths", "RepoDigests", "RepoTags", "SecurityOpt", "Shell", "Ulimits", "VolumesFrom"),
    )
)

#: Maps whose values are lists; a port without a binding has null.
_LISTS_BY_KEY = frozenset({"PortBindings", "Ports"})

#: Fields that engines leave out when they are empty, and what Go has in their place (None: see `field`).
OMITTED: Mapping[str, Any] = (
    dict.fromkeys(
        ("Author", "Comment", "Container", "DockerVersion", "Driver", "IPAddress", "MacAddress"), ""
    )
    | dict.fromkeys(("Name", "Parent", "StopSignal", "Variant"), "")
    | dict.fromkeys(("Annotations", "ExposedPorts", "GraphDriver", "Health", "Healthcheck", "Init", "Mounts"))
    | dict.fromkeys(
        ("OnBuild", "Shell", "SizeRootFs", "SizeRw", "StopTimeout", "StorageOpt", "Sysctls", "Tmpfs")
    )
    | dict.fromkeys(("ArgsEscaped", "NetworkDisabled"), False)
    | dict.fromkeys(("UsageData",))
)

#: Fields of structs that Docker's types have in another order than engines send them.
_ORDERS = {
    "Mounts": ("Type", "Name", "Source", "Destination", "Driver", "Mode", "RW", "Propagation"),
}


#: Go's names of fields that JSON calls otherwise.
_GO_NAMES = {
    "ID": "Id", "DNS": "Dns", "DNSOptions": "DnsOptions", "DNSSearch": "DnsSearch", "NanoCPUs": "NanoCpus",
    "CPUShares": "CpuShares", "CPUPeriod": "CpuPeriod", "CPUQuota": "CpuQuota", "CPUCount": "CpuCount",
    "CPURealtimePeriod": "CpuRealtimePeriod", "CPURealtimeRuntime": "CpuRealtimeRuntime",
    "CPUPercent": "CpuPercent", "HTTPProxy": "HttpProxy", "HTTPSProxy": "HttpsProxy",
}  # fmt: skip


class NilPointer:
    """A struct's pointer that points nowhere: false, and printed as <nil>."""

    def __bool__(self) -> bool:
        return False


class NilList(list[Any]):
    """A struct's list that was null: empty, but null in JSON."""


class NilMap(dict[str, Any]):
    """A struct's map that was null."""


class GoTime(str):
    """A time.Time: RFC 3339 in JSON."""

    __slots__ = ()


class GoDuration(int):
    """A time.Duration: nanoseconds in JSON."""


class Struct(dict[str, Any]):
    """A JSON object that is a struct in Docker's types. shape: all of its fields, where that is known."""

    def __init__(self, fields: Mapping[str, Any], shape: Mapping[str, Any] | None = None) -> None:
        super().__init__(fields)
        self.shape = shape or {}


class Platform(Struct):
    """An OCI platform: `linux/arm64/v8` as text, its fields in JSON."""

    def __str__(self) -> str:
        system = self["os"] + (f"({self['os.version']})" if self.get("os.version") else "")
        return "/".join(part for part in (system, self["architecture"], self.get("variant")) if part)


class Tagged(Struct):
    """A struct whose fields have other names in JSON: pairs of (name in JSON, field); () for the same."""

    def __init__(self, fields: Mapping[str, Any], tags: Iterable[tuple[str, str]]) -> None:
        super().__init__(fields)
        self.tags = tuple(tags) or tuple((name, name) for name in fields)


def plain(value: Any) -> Any:
    """The JSON that a value was made from."""
    if isinstance(value, Tagged):
        return {name: plain(value[held]) for name, held in value.tags}
    if isinstance(value, NilPointer | NilList | NilMap):
        return None
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def field(struct: Struct, name: str) -> Any:
    """A struct's field as Go holds it. Raises KeyError if Docker's struct has no such field."""
    name = _GO_NAMES.get(name, name) if name not in struct else name
    if struct.get(name) is None and name in struct.shape:
        return struct.shape[name]
    value = struct[name] if name in struct else OMITTED[name]
    if value is not None:
        return value
    if name in MAP_FIELDS:
        return NilMap()
    return NilList() if name in LIST_FIELDS else NilPointer()


class Row(dict[str, Any]):
    """One line of a table: its fields are strings. methods take arguments (`.Label "x"`); not in JSON."""

    def __init__(
        self, fields: Mapping[str, Any], methods: Mapping[str, Callable[..., Any]] | None = None
    ) -> None:
        super().__init__(fields)
        self.methods = dict(methods or {})


def structs(value: Any, name: str = "", parent: str = "") -> Any:
    """JSON as Docker's client would hold it."""
    if isinstance(value, list):
        order = _ORDERS.get(name)
        return [structs(_ordered(item, order) if order else item, "", name) for item in value]
    if not isinstance(value, dict):
        return value
    made = {key: structs(item, key, name) for key, item in value.items()}
    if name in _LISTS_BY_KEY:
        made = {key: NilList() if item is None else item for key, item in made.items()}
    # Below a map the keys are data, so that a network called "Labels" is still a struct.
    inside_map = parent in MAP_FIELDS
    if not inside_map and (name in MAP_FIELDS or (parent, name) in _MAPS_BELOW):
        return made
    from wherry.cli.output import shapes  # for templates over whole objects alone

    struct = Struct(made, None if inside_map else shapes.of(name, parent, made))
    for key, zero in struct.shape.items():
        if isinstance(zero, GoDuration | GoTime) and struct.get(key) is not None:
            struct[key] = type(zero)(struct[key])
    return struct


def _ordered(item: Any, order: Iterable[str]) -> Any:
    """item with its fields in this order, as far as it has them; others come last."""
    if not isinstance(item, dict):
        return item
    first = {name: item[name] for name in order if name in item}
    return first | {name: value for name, value in item.items() if name not in first}


def truth(value: Any) -> bool:
    """Go's idea: empty is false, a struct is true."""
    if isinstance(value, Struct | Row):
        return True
    return bool(value)


def text(value: Any, *, top: bool = False) -> str:
    """What Go's %v prints. top: the value stands alone in an action."""
    if value is None:
        return "<no value>" if top else "<nil>"
    if isinstance(value, NilPointer):
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Platform):
        return str(value)
    if isinstance(value, Struct):
        rest = [name for name in value if name not in value.shape]
        return "{" + " ".join(text(field(value, name)) for name in (*value.shape, *rest)) + "}"
    if isinstance(value, GoTime | GoDuration):
        from wherry.cli.output import units

        return units.go_time(value) if isinstance(value, GoTime) else units.go_duration(value)
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{text(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list | tuple):
        return "[" + " ".join(text(item) for item in value) + "]"
    if isinstance(value, float):
        return _float(value)
    return str(value)


def _float(value: float) -> str:
    """Go's %v of a float64: the shortest form, with an exponent from 1e21 on."""
    if value == int(value) and abs(value) < 1e21:
        return str(int(value))
    return repr(value)


def quote(value: str) -> str:
    r"""Go's strconv.Quote: printable Unicode stays, the rest is escaped as \n, \x00 or \u00ad."""
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    escapes |= {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\v": "\\v"}
    return '"' + "".join(escapes.get(char) or _printable(char) for char in value) + '"'


def _printable(char: str) -> str:
    if char.isprintable():
        return char
    code = ord(char)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
