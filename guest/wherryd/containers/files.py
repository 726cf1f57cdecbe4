"""The three files every container gets from the engine: /etc/hosts, /etc/hostname, /etc/resolv.conf.

They are kept in DATA_ROOT/containers/<id>/ and bind-mounted, so that they can change while it runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wherryd.containers.record import ContainerRecord
from wherryd.networks import hosts as networks_hosts
from wherryd.networks import resolv
from wherryd.networks.sandbox import Sandbox
from wherryd.spec.build import UserMount


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
    files: ContainerFiles, record: ContainerRecord, hostname: str, sandbox: Sandbox, dns: Sequence[str]
) -> None:
    """Writes the three files. dns: the daemon's --dns, used when the request has none."""
    files.folder.mkdir(mode=0o710, parents=True, exist_ok=True)
    files.hostname.write_text(f"{hostname}\n")
    files.hosts.write_text(hosts(record, hostname, sandbox))
    files.resolv_conf.write_text(resolv_conf(record, sandbox.mode == "host", dns))
    for path in (files.hostname, files.hosts, files.resolv_conf):
        path.chmod(0o644)


def hosts(record: ContainerRecord, hostname: str, sandbox: Sandbox) -> str:
    entries = record.host_config["ExtraHosts"] or ()
    extra = networks_hosts.parse_extra_hosts(entries, host_gateway=sandbox.gateway)
    if sandbox.mode == "host":
        system = Path("/etc/hosts")
        text = system.read_text(errors="replace") if system.exists() else ""
        return networks_hosts.host_network_hosts_file(text, extra)
    return networks_hosts.hosts_file(
        address=sandbox.ip, hostname=hostname, domainname=record.config["Domainname"], extra=extra
    )


def resolv_conf(record: ContainerRecord, host_network: bool, dns: Sequence[str]) -> str:
    host = record.host_config
    upstream = resolv.read_upstream(upstream_files=()) if host_network else resolv.read_upstream()
    return resolv.resolv_conf(
        upstream,
        dns=host["Dns"] or dns,
        search=host["DnsSearch"],
        options=host["DnsOptions"],
        host_network=host_network,
    )
