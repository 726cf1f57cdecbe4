"""The three files every container gets from the engine: /etc/hosts, /etc/hostname, /etc/resolv.conf.

They are kept in DATA_ROOT/containers/<id>/ and bind-mounted, so that they can change while it runs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from wherryd.containers.record import ContainerRecord
from wherryd.errors import SystemFault
from wherryd.networks import hosts as networks_hosts
from wherryd.networks import resolv
from wherryd.networks.naming import HOST_NAME, NameDefaults
from wherryd.networks.sandbox import Sandbox
from wherryd.spec.build import UserMount

#: Of a file that a container may write; what is longer is not edited.
_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ContainerFiles:
    """One container's folder, and what is in it."""

    folder: Path

    @property
    def hosts(self) -> Path:
        return self.folder / "hosts"

    @property
    def hostname(self) -> Path:
        return self.folder / "hostname"

    @property
    def resolv_conf(self) -> Path:
        return self.folder / "resolv.conf"

    @property
    def init(self) -> Path:
        """The program of --init."""
        return self.folder / "docker-init"

    @property
    def log(self) -> Path:
        return self.folder / f"{self.folder.name}-json.log"

    def mounts(self, covered: Sequence[str], read_only: bool) -> list[UserMount]:
        """The binds of the three files, less those the request has its own mount for."""
        pairs = (
            (self.resolv_conf, "/etc/resolv.conf"),
            (self.hostname, "/etc/hostname"),
            (self.hosts, "/etc/hosts"),
        )
        return [
            UserMount(type="bind", source=str(source), destination=destination, read_only=read_only)
            for source, destination in pairs
            if destination not in covered
        ]


def write(
    files: ContainerFiles,
    record: ContainerRecord,
    hostname: str,
    sandbox: Sandbox,
    names: NameDefaults,
    linked: Sequence[tuple[str, str]] = (),
) -> None:
    """Writes the three files. names: the engine's, used where the request has none. linked: (address, names)
    of linked containers."""
    files.folder.mkdir(mode=0o710, parents=True, exist_ok=True)
    files.hostname.write_text(f"{hostname}\n")
    files.hosts.write_text(hosts(record, hostname, sandbox, names, linked))
    files.resolv_conf.write_text(resolv_conf(record, sandbox, names))
    for path in (files.hostname, files.hosts, files.resolv_conf):
        path.chmod(0o644)


def hosts(
    record: ContainerRecord,
    hostname: str,
    sandbox: Sandbox,
    names: NameDefaults,
    linked: Sequence[tuple[str, str]] = (),
) -> str:
    entries = record.host_config["ExtraHosts"] or ()
    gateway = names.host_addresses(sandbox)
    extra = networks_hosts.parse_extra_hosts(entries, host_gateway=gateway)
    if not any(name == HOST_NAME for _, name in extra):
        extra = (*extra, *((address, HOST_NAME) for address in gateway))
    extra = (*extra, *linked)
    if sandbox.mode == "host":
        system = Path("/etc/hosts")
        text = system.read_text(errors="replace") if system.exists() else ""
        return networks_hosts.host_network_hosts_file(text, extra)
    return networks_hosts.hosts_file(
        addresses=_addresses(sandbox), hostname=hostname, domainname=record.config["Domainname"], extra=extra
    )


def _addresses(sandbox: Sandbox) -> list[str]:
    return [address for each in sandbox.attachments for address in (each.ip, each.ip6) if address]


def resolv_conf(record: ContainerRecord, sandbox: Sandbox, names: NameDefaults) -> str:
    host = record.host_config
    own = sandbox.mode == "host"
    upstream = resolv.read_upstream(upstream_files=()) if own else resolv.read_upstream()
    search, options = host["DnsSearch"] or names.search, host["DnsOptions"] or names.options
    if sandbox.resolver:
        return resolv.embedded_conf(upstream, search=search, options=options)
    return resolv.resolv_conf(
        upstream,
        dns=host["Dns"] or names.dns,
        search=search,
        options=options,
        host_network=own,
        ipv6=any(each.gateway6 for each in sandbox.attachments),
    )


def follow(
    files: ContainerFiles,
    record: ContainerRecord,
    hostname: str,
    change: tuple[Sandbox, Sandbox],
    names: NameDefaults,
) -> None:
    """After a connect or disconnect: (before, after). Lines that the container wrote itself are kept, and a
    resolv.conf that it changed is left alone. Written in place: the files are mounted one by one."""
    before, after = change
    text = _read(files.hosts)
    gone = set(_addresses(before)) - set(_addresses(after))
    new = [address for address in _addresses(after) if address not in _addresses(before)]
    text = networks_hosts.without(text, gone, hostname)
    lines = networks_hosts.own_lines(new, hostname, record.config["Domainname"])
    _write_in_place(files.hosts, text + lines)
    if before.resolver != after.resolver and _read(files.resolv_conf) == resolv_conf(record, before, names):
        _write_in_place(files.resolv_conf, resolv_conf(record, after, names))


def edit_hosts(files: ContainerFiles, change: Callable[[str], str]) -> None:
    """Changes the /etc/hosts of a running container. Raises SystemFault, OSError."""
    _write_in_place(files.hosts, change(_read(files.hosts)))


def _read(path: Path) -> str:
    """What the container made of the file; it may have made it long."""
    with path.open("rb") as file:
        content = file.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise SystemFault(f"{path} has more than {_MAX_BYTES} bytes; it is left as it is")
    return content.decode("utf-8", "surrogateescape")


def _write_in_place(path: Path, text: str) -> None:
    with path.open("r+b") as file:
        file.write(text.encode("utf-8", "surrogateescape"))
        file.truncate()
