"""Which addresses stand behind a registry's name, and how far each is trusted.

Source: dockerd reference, "Insecure registries", "Daemon proxy", "registry-mirrors"; the certs.d folder:
"Verify repository client with certificates".

HTTPS with a verified certificate is the rule. Two kinds of registries are *insecure*: those named by
--insecure-registry (host[:port] or CIDR), and this machine's own (localhost, 127.0.0.0/8, ::1). With them
the certificate is not verified, and plain HTTP is tried after HTTPS.
"""

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from wherryd.errors import InvalidParameter

HUB = "docker.io"
HUB_REGISTRY = "registry-1.docker.io"
#: The key of Docker Hub's entry in every client's config file.
HUB_INDEX_KEY = "https://index.docker.io/v1/"
HUB_SEARCH = "index.docker.io"
_HUB_NAMES = frozenset({HUB, "index.docker.io", HUB_REGISTRY, "registry.hub.docker.com"})

_DOMAIN = re.compile(
    r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*|\[(?P<address>[0-9a-f:.]+)\])"
    r"(?::(?P<port>[0-9]{1,5}))?",
    re.IGNORECASE | re.ASCII,
)
_MAX_DOMAIN = 255

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryOptions:
    """insecure: host[:port] or CIDR. mirrors: URLs, for Docker Hub only. certificates: folders laid out as
    Docker's /etc/docker/certs.d, `<folder>/<host[:port]>/{*.crt, *.cert + *.key}`; all of them are read."""

    insecure: tuple[str, ...] = ()
    mirrors: tuple[str, ...] = ()
    certificates: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """url: without a slash at its end. secure: its certificate is verified. mirror: of Docker Hub."""

    url: str
    secure: bool = True
    mirror: bool = False

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc


def domain_of_server(address: str) -> str:
    """What people log in to, as the domain of an image: "https://index.docker.io/v1/" -> "docker.io"."""
    rest = address.strip()
    for scheme in ("https://", "http://"):
        rest = rest.removeprefix(scheme)
    host = rest.partition("/")[0].lower()
    return HUB if host in _HUB_NAMES or not host else host


def check_domain(domain: str) -> None:
    """Raises InvalidParameter for what no registry can be called: host[:port], the host a name or an address
    (RFC 1123, 2.1; RFC 3986, 3.2.2)."""
    match = _DOMAIN.fullmatch(domain)
    fits = (
        match is not None
        and len(domain) <= _MAX_DOMAIN
        and 0 < int(match["port"] or 443) < 65536
        and (not match["address"] or bool(_literal(match["address"])))
    )
    if not fits:
        raise InvalidParameter(f"{domain!a} is no registry's address (hint: registry.example.org:5000)")


class Hosts:
    """Answers where to find registries. Checks its options once."""

    def __init__(self, options: RegistryOptions) -> None:
        """Raises InvalidParameter for a mirror that is no URL."""
        self._options = options
        self._networks: list[Network] = []
        self._names: set[str] = set()
        for entry in options.insecure:
            try:
                self._networks.append(ipaddress.ip_network(entry, strict=False))
            except ValueError:
                self._names.add(entry.lower().removeprefix("http://").removeprefix("https://").rstrip("/"))
        self._mirrors = [_mirror(url) for url in options.mirrors]
        self._contexts: dict[tuple[str, bool], ssl.SSLContext] = {}

    async def endpoints(self, domain: str, *, mirrors: bool) -> list[Endpoint]:
        """In the order to try them. domain: of a normalised reference ("docker.io" for Docker Hub), or what
        a user logs in to. Raises InvalidParameter."""
        check_domain(domain)
        if domain == HUB:
            return [*(self._mirrors if mirrors else ()), Endpoint(f"https://{HUB_REGISTRY}")]
        if await self.insecure(domain):
            return [Endpoint(f"https://{domain}", secure=False), Endpoint(f"http://{domain}", secure=False)]
        return [Endpoint(f"https://{domain}")]

    async def insecure(self, domain: str) -> bool:
        host = urlsplit(f"//{domain}").hostname or ""
        if domain.lower() in self._names or host in self._names or host == "localhost":
            return True
        addresses = _literal(host)
        if not addresses and self._networks:
            addresses = await _resolve(host)
        return any(
            address.is_loopback or any(address in network for network in self._networks)
            for address in addresses
        )

    def tls(self, endpoint: Endpoint) -> "ssl.SSLContext":
        """Raises InvalidParameter when a file of certs.d cannot be used."""
        key = (endpoint.host, endpoint.secure)
        if key not in self._contexts:
            self._contexts[key] = self._make_context(endpoint)
        return self._contexts[key]

    def _make_context(self, endpoint: Endpoint) -> "ssl.SSLContext":
        context = ssl.create_default_context()
        # Python 3.13 is strict where Docker (Go) is not: an authority made by `openssl req -x509`, as their
        # manuals say, lacks the key usage that RFC 5280 wants. And a registry's own certificate may stand in
        # for its authority, as there.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        if not endpoint.secure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        for file in self._files(endpoint.host):
            try:
                if file.suffix == ".crt":
                    context.load_verify_locations(file)
                elif file.suffix == ".cert":
                    context.load_cert_chain(file, file.with_suffix(".key"))
            except (OSError, ssl.SSLError) as exc:
                raise InvalidParameter(f"{file}: {exc}; mend it or remove it") from exc
        return context

    def _files(self, host: str) -> Iterable[Path]:
        for folder in self._options.certificates:
            if (folder / host).is_dir():
                yield from sorted((folder / host).iterdir())


def _mirror(url: str) -> Endpoint:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
        raise InvalidParameter(f"--registry-mirror {url}: wants https://host[:port]")
    return Endpoint(url.rstrip("/"), secure=parts.scheme == "https", mirror=True)


def _literal(host: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    try:
        return [ipaddress.ip_address(host)]
    except ValueError:
        return []


async def _resolve(host: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return []  # the request itself will say that the name is unknown
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
