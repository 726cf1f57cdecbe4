"""The command line of `wherryd`, with dockerd's names where it has them, and the file behind --config-file.

The command line wins over the file, as in dockerd. Without --config-file it is `<data root>/wherryd.json`, if
that is there: in a virtual machine it lies on the data disk, which outlives the system. Paths are of this
machine.
"""

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wherryd.containers import logoptions
from wherryd.daemon import builderoptions, networkoptions, runtimeoptions, tlsoptions
from wherryd.daemon.networkoptions import NetworkOptions
from wherryd.daemon.tlsoptions import TlsOptions
from wherryd.errors import InvalidParameter
from wherryd.snapshots import drivers
from wherryd.spec import dockerinit
from wherrywire import __version__

DEFAULT_HOST = "unix:///run/wherryd.sock"
DEFAULT_DATA_ROOT = "/var/lib/wherry"
CONFIG_FILE = "wherryd.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    hosts: tuple[str, ...]
    #: Of hosts on TCP.
    tls: TlsOptions | None
    data_root: Path
    exec_root: Path
    pidfile: Path | None
    network: NetworkOptions
    storage_driver: str
    storage_options: tuple[str, ...]
    runtimes: Mapping[str, tuple[str, ...]]
    insecure_registries: tuple[str, ...]
    registry_mirrors: tuple[str, ...]
    group: str
    cgroup_parent: str
    remap_ids: bool
    init: bool
    log_driver: str
    log_opts: Mapping[str, str]
    builder_keep_bytes: int | None
    debug: bool


def _switch(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise argparse.ArgumentTypeError("want true or false")
    return text.lower() in ("true", "1")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wherryd",
        description="Wherry's container engine.",
        epilog="`wherryd audit --help`: what lies below a data root, and what of it nobody owns.",
    )
    add = parser.add_argument
    add("-H", "--host", action="append", metavar="URL", help=f"listen here; may repeat ({DEFAULT_HOST})")
    add("--tls", action="store_true", default=None, help="TLS on TCP (off; --tlsverify is enough)")
    add("--tlsverify", action="store_true", default=None, help="serve clients with a certificate only")
    add("--tlscacert", metavar="FILE", help="who signs clients' certificates (~/.docker/ca.pem)")
    add("--tlscert", metavar="FILE", help="this engine's certificate (~/.docker/cert.pem)")
    add("--tlskey", metavar="FILE", help="and its key (~/.docker/key.pem)")
    add("--data-root", metavar="DIR", help=f"what must survive a reboot ({DEFAULT_DATA_ROOT})")
    add("--exec-root", metavar="DIR", help="state of running containers (/run/wherry)")
    add("-p", "--pidfile", metavar="FILE")
    add("-b", "--bridge", metavar="NAME", help="device of the network `bridge` (wherry0)")
    add("--bip", metavar="CIDR", help="address and size of the bridge (172.17.0.1/16)")
    add(
        "-s",
        "--storage-driver",
        metavar="NAME",
        help=f"{', '.join(drivers.DRIVERS)} (the best that works here)",
    )
    add(
        "--storage-opt",
        action="append",
        metavar="KEY=VALUE",
        help="devicemapper's dm.basesize, dm.loopdatasize, dm.loopmetadatasize, for a new pool",
    )
    add("--default-runtime", metavar="NAME")
    add("--add-runtime", action="append", metavar="NAME=PATH")
    add("--insecure-registry", action="append", metavar="HOST")
    add("--registry-mirror", action="append", metavar="URL")
    add("--dns", action="append", metavar="IP", help="name server of containers; may repeat")
    add("--dns-opt", action="append", metavar="OPTION", help="resolver option of containers; may repeat")
    add("--dns-search", action="append", metavar="DOMAIN", help="search domain of containers; may repeat")
    add("--bip6", metavar="CIDR", help="IPv6 address and size of the bridge, with --ipv6")
    add("--fixed-cidr", metavar="CIDR", help="the part of the bridge's network to give addresses from")
    add("--fixed-cidr-v6", metavar="CIDR", help="IPv6 network of the bridge, with --ipv6")
    add("--ipv6", action="store_true", default=None, help="the bridge has IPv6, too (off)")
    add("--mtu", type=int, metavar="BYTES", help="of the bridge (that of the default route)")
    add("--icc", type=_switch, metavar="BOOL", help="containers on the bridge reach each other (true)")
    add("--ip-masq", type=_switch, metavar="BOOL", help="they leave with this host's address (true)")
    add("--ip", metavar="IP", help="where the bridge's ports are published that name no address (all)")
    add(
        "--default-address-pool",
        action="append",
        metavar="base=CIDR,size=N",
        help="where networks without a subnet get theirs from; may repeat",
    )
    add(
        "--host-gateway-ip",
        action="append",
        metavar="IP",
        help="the user's machine, for host-gateway and host.docker.internal (the container's gateway)",
    )
    add("-G", "--group", metavar="NAME", help="group of the unix socket (wherry)")
    add("--cgroup-parent", metavar="PATH", help="cgroup above all containers' (/wherry)")
    add(
        "--userns-remap",
        metavar="auto|host",
        help="auto: containers have ids of their own, root inside is nobody outside; host: not (auto)",
    )
    add("--init", action="store_true", default=None, help="an init process in every container (off)")
    add("--log-driver", metavar="NAME", help="of containers that name none: json-file, local or none")
    add("--log-opt", action="append", metavar="KEY=VALUE", help="for that driver; may repeat (max-size=20m)")
    add(
        "--builder-keep-storage",
        metavar="SIZE",
        help="what builds keep for later ones (20GB, a quarter of the disk)",
    )
    add("--config-file", metavar="FILE", help=f"options as JSON ({CONFIG_FILE} in the data root, if there)")
    add("-D", "--debug", action="store_true", default=None)
    add("-v", "--version", action="version", version=f"wherryd {__version__}")
    return parser


#: Option's name -> default. Lists are given as tuples.
_DEFAULTS: dict[str, object] = {
    "host": (DEFAULT_HOST,),
    **tlsoptions.DEFAULTS,
    "data-root": DEFAULT_DATA_ROOT,
    "exec-root": "/run/wherry",
    "pidfile": "",
    **networkoptions.DEFAULTS,
    "storage-driver": "",
    "storage-opt": (),
    "default-runtime": "wherry-runc",
    "add-runtime": (),
    "runtimes": {},
    "insecure-registry": (),
    "registry-mirror": (),
    "group": "wherry",
    "cgroup-parent": "/wherry",
    "userns-remap": "auto",
    "init": False,
    "log-driver": "json-file",
    "log-opts": {},
    "builder": {},
    "builder-keep-storage": "",
    "debug": False,
}

#: What dockerd's file calls the options that may repeat.
_PLURALS = {
    **networkoptions.PLURALS,
    "hosts": "host",
    "insecure-registries": "insecure-registry",
    "registry-mirrors": "registry-mirror",
    "storage-opts": "storage-opt",
}


def parse(arguments: Sequence[str]) -> Options:
    """Raises InvalidParameter; argparse's own complaints end in SystemExit(2)."""
    given = vars(_parser().parse_args(arguments))
    given["log_opts"] = _pairs(given.pop("log_opt"))
    config_file = given.pop("config_file")
    values = dict(_DEFAULTS)
    if config_file:
        values |= _read_file(Path(config_file))
    else:
        values |= _default_file(Path(given["data_root"] or DEFAULT_DATA_ROOT))
    values |= {key.replace("_", "-"): value for key, value in given.items() if value is not None}
    return _options(values)


def _default_file(data_root: Path) -> dict[str, object]:
    path = data_root / CONFIG_FILE
    if not path.is_file():
        return {}
    found = _read_file(path)
    if "data-root" in found:
        raise InvalidParameter(f"config file {path}: it lies in the data root and cannot name another")
    return found


def _read_file(path: Path) -> dict[str, object]:
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError) as exc:
        raise InvalidParameter(f"config file {path}: {exc}") from exc
    if not isinstance(document, dict):
        raise InvalidParameter(f"config file {path}: wants one JSON object")
    found: dict[str, object] = {}
    for key, value in document.items():
        name = _PLURALS.get(key, key)
        if name not in _DEFAULTS:
            raise InvalidParameter(f'config file {path}: unknown option "{key}" (hint: wherryd --help)')
        if type(value) is not type(_DEFAULTS[name]) and not (
            isinstance(value, list) and isinstance(_DEFAULTS[name], tuple)
        ):
            raise InvalidParameter(f'config file {path}: "{key}" has the wrong type')
        found[name] = value
    return found


def _pairs(given: Sequence[str] | None) -> dict[str, str] | None:
    return (
        None if given is None else {key: value for key, _, value in (each.partition("=") for each in given)}
    )


def _log_options(values: dict[str, object]) -> Mapping[str, str]:
    """Raises InvalidParameter for a driver or an option that is not known."""
    options = values["log-opts"]
    assert isinstance(options, dict), "checked where it is read"  # noqa: S101
    problems = logoptions.problems({"Type": values["log-driver"], "Config": options})
    if problems:
        raise InvalidParameter(f"--log-driver, --log-opt: {'; '.join(problems)}")
    return options


def _options(values: dict[str, object]) -> Options:
    def text(key: str) -> str:
        return str(values[key])

    def texts(key: str) -> tuple[str, ...]:
        value = values[key]
        return tuple(map(str, value)) if isinstance(value, list | tuple) else (str(value),)

    network = networkoptions.read(values)
    try:
        storage_driver = drivers.canonical(text("storage-driver"))
    except InvalidParameter as exc:
        raise InvalidParameter(f"--storage-driver: {exc}") from exc
    if not text("cgroup-parent").startswith("/"):
        raise InvalidParameter("--cgroup-parent: wants an absolute path such as /wherry")
    if values["init"] and not dockerinit.available(os.uname().machine):
        raise InvalidParameter(f"--init: there is no init program for {os.uname().machine}; leave it out")
    if text("userns-remap") not in ("", "auto", "host"):
        raise InvalidParameter(
            f'--userns-remap: "{text("userns-remap")}" is not known: every container gets a range '
            "of its own, no user is needed for it (hint: auto, or host to switch it off)"
        )
    return Options(
        hosts=texts("host"),
        tls=tlsoptions.read(values),
        data_root=Path(text("data-root")).absolute(),
        exec_root=Path(text("exec-root")).absolute(),
        pidfile=Path(text("pidfile")).absolute() if text("pidfile") else None,
        network=network,
        storage_driver=storage_driver,
        storage_options=texts("storage-opt"),
        runtimes=runtimeoptions.read(values),
        insecure_registries=texts("insecure-registry"),
        registry_mirrors=texts("registry-mirror"),
        group=text("group"),
        cgroup_parent=text("cgroup-parent"),
        remap_ids=text("userns-remap") == "auto",
        init=bool(values["init"]),
        log_driver=text("log-driver"),
        log_opts=_log_options(values),
        builder_keep_bytes=builderoptions.read(values),
        debug=bool(values["debug"]),
    )
