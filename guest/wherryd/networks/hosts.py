"""A container's /etc/hosts. Pure. Source: hosts(5), docker run --add-host."""

import ipaddress
from collections.abc import Collection, Sequence

from wherryd.errors import InvalidParameter

# The lines that Docker starts every file with.
STANDARD = (
    ("127.0.0.1", "localhost"),
    ("::1", "localhost ip6-localhost ip6-loopback"),
    ("fe00::", "ip6-localnet"),
    ("ff00::", "ip6-mcastprefix"),
    ("ff02::1", "ip6-allnodes"),
    ("ff02::2", "ip6-allrouters"),
)
HOST_GATEWAY = "host-gateway"


def parse_extra_hosts(entries: Sequence[str], *, host_gateway: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """HostConfig.ExtraHosts, "name:address", -> (address, name).

    host_gateway: the addresses that "host-gateway" stands for, perhaps none. Raises InvalidParameter.
    """
    result = []
    for entry in entries:
        name, _, address = entry.partition(":")
        if not name or any(character.isspace() for character in entry):
            raise InvalidParameter(f'bad format for add-host: "{entry}" (hint: name:192.0.2.1)')
        if address == HOST_GATEWAY:
            if not host_gateway:
                raise InvalidParameter(
                    f'unable to derive the IP value for host-gateway in "{entry}": '
                    "this network has no gateway"
                )
            result += [(str(each), name) for each in host_gateway]
            continue
        try:
            result.append((str(ipaddress.ip_address(address.strip("[]"))), name))
        except ValueError as error:
            raise InvalidParameter(
                f'invalid IP address in add-host: "{address}" (hint: name:192.0.2.1)'
            ) from error
    return tuple(result)


def hosts_file(
    *, addresses: Sequence[str], hostname: str, domainname: str = "", extra: Sequence[tuple[str, str]] = ()
) -> str:
    """The file of a container with networks of its own; no address when it has none (mode "none").

    domainname: HostConfig's; the full name then comes first, as hostname(1) --fqdn wants it.
    """
    fixed = "".join(f"{ip}\t{names}\n" for ip, names in [*STANDARD, *extra])
    return fixed + own_lines(addresses, hostname, domainname)


def own_lines(addresses: Sequence[str], hostname: str, domainname: str) -> str:
    """One line per address of the container itself."""
    if not hostname:
        return ""
    names = f"{hostname}.{domainname} {hostname}" if domainname else hostname
    return "".join(f"{address}\t{names}\n" for address in addresses)


def without(text: str, addresses: Collection[str], hostname: str) -> str:
    """The file without the container's own lines for these addresses. The last line gets its end, if it has
    none, so that more can follow."""
    kept = []
    for line in text.splitlines(keepends=True):
        words = line.split()
        if len(words) > 1 and words[0] in addresses and hostname in words[1:]:
            continue
        kept.append(line if line.endswith("\n") else line + "\n")
    return "".join(kept)


def with_names(text: str, lines: Sequence[tuple[str, str]]) -> str:
    """lines: (names, address). Each in place of a line with the same two first names, or at the end."""
    for names, address in lines:
        wanted = names.split()[:2]
        kept = [
            line if line.endswith("\n") else line + "\n"
            for line in text.splitlines(keepends=True)
            if line.split()[1:3] != wanted
        ]
        text = "".join(kept) + f"{address}\t{names}\n"
    return text


def host_network_hosts_file(host_text: str, extra: Sequence[tuple[str, str]] = ()) -> str:
    """The file of a container with the host's network: the host's own, and what the user adds."""
    text = host_text if host_text.endswith("\n") or not host_text else host_text + "\n"
    return text + "".join(f"{ip}\t{name}\n" for ip, name in extra)
