"""Who the user is to a registry, as clients send it with each request. Nothing here is ever logged.

Source: Engine API, "Authentication": `X-Registry-Auth` is base64url of a JSON object.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wherryd.registry.hosts import domain_of_server

_MAX_HEADER_CHARACTERS = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """All empty: nobody. identity_token: an OAuth2 refresh token. registry_token: a bearer token to be sent
    as it is. server: the address the user logged in to; "" when the client did not say."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)
    server: str = ""

    @property
    def anonymous(self) -> bool:
        return not (self.username or self.identity_token or self.registry_token)

    def for_domain(self, domain: str) -> "Credentials":
        """These, or nobody's when they were given for another registry."""
        if self.server and domain_of_server(self.server) != domain:
            return ANONYMOUS
        return self


ANONYMOUS = Credentials()


def from_header(value: str) -> Credentials:
    """Padded or not, base64url or plain base64. What cannot be read is nobody, as in Docker: some clients
    send "null" or nothing at all."""
    if not value or len(value) > _MAX_HEADER_CHARACTERS:
        return ANONYMOUS
    text = value.strip().rstrip("=").replace("+", "-").replace("/", "_")
    try:
        document = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return ANONYMOUS
    return from_document(document) if isinstance(document, dict) else ANONYMOUS


def from_config_header(value: str) -> dict[str, Credentials]:
    """`X-Registry-Config` of a build: base64 of a map from server to AuthConfig; by domain of images."""
    if not value or len(value) > _MAX_HEADER_CHARACTERS:
        return {}
    text = value.strip().rstrip("=").replace("+", "-").replace("/", "_")
    try:
        document = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return {}
    if not isinstance(document, dict):
        return {}
    return {
        domain_of_server(server): from_document(entry)
        for server, entry in document.items()
        if isinstance(entry, dict)
    }


def from_document(document: Mapping[str, Any]) -> Credentials:
    """An AuthConfig. `auth` (base64 of user:password) is what config files hold; some clients send it."""

    def text(key: str) -> str:
        value = document.get(key)
        return value if isinstance(value, str) else ""

    username, password = text("username"), text("password")
    if not username and (packed := text("auth")):
        try:
            username, _, password = base64.b64decode(packed).decode().partition(":")
        except (binascii.Error, ValueError):
            username = password = ""
    return Credentials(
        username=username,
        password=password,
        identity_token=text("identitytoken"),
        registry_token=text("registrytoken"),
        server=text("serveraddress"),
    )
