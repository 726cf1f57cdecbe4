"""Answering a registry's challenge: Basic credentials, or a bearer token from the realm it names.

Source: distribution, "Token Authentication Specification" and "OAuth2 Token Authentication".
"""

import base64
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from wherryd.errors import Unauthorized, Unavailable
from wherryd.registry import refusals
from wherryd.registry.challenge import Challenge
from wherryd.registry.credentials import Credentials
from wherryd.registry.hosts import Endpoint
from wherryd.registry.transport import Answer, Transport, shown

CLIENT_ID = "wherry"
#: What the specification says when a token does not tell how long it lives.
_DEFAULT_LIFE_SECONDS = 60.0
#: A token is given up this long before its end: requests take time.
_MARGIN_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Token:
    """until: time.monotonic()."""

    value: str
    until: float


class Authorizer:
    """Of one user at one endpoint. Remembers what the endpoint asked for, and tokens per scope."""

    def __init__(self, transport: Transport, endpoint: Endpoint, credentials: Credentials) -> None:
        self._transport = transport
        self._endpoint = endpoint
        self._credentials = credentials
        self._challenge: Challenge | None = None
        self._tokens: dict[frozenset[str], Token] = {}

    async def header(self, scopes: frozenset[str]) -> dict[str, str]:
        """Headers for the next request; {} before it has asked. Raises Unauthorized, Unavailable."""
        if self._credentials.registry_token:
            return {"Authorization": f"Bearer {self._credentials.registry_token}"}
        if self._challenge is None:
            return {}
        if self._challenge.scheme == "basic":
            return basic(self._credentials) if self._credentials.username else {}
        known = self._tokens.get(scopes)
        if known is None or known.until < time.monotonic():
            known = self._tokens[scopes] = await self._token(scopes)
        return {"Authorization": f"Bearer {known.value}"}

    def challenged(self, challenges: Iterable[Challenge], scopes: frozenset[str]) -> bool:
        """Takes a 401's challenges. Whether another request may have more luck."""
        self._tokens.pop(scopes, None)
        if self._credentials.registry_token:
            return False
        by_scheme = {challenge.scheme: challenge for challenge in reversed(list(challenges))}
        # Bearer first, as Docker: some registries offer Basic beside it for their web page.
        self._challenge = by_scheme.get("bearer") or by_scheme.get("basic")
        if self._challenge is None:
            return False
        return self._challenge.scheme == "bearer" or bool(self._credentials.username)

    async def _token(self, scopes: frozenset[str]) -> Token:
        answer = await self._ask(scopes, offline=False)
        life = answer.get("expires_in")
        seconds = float(life) if isinstance(life, int | float) and life > 0 else _DEFAULT_LIFE_SECONDS
        value = answer.get("token") or answer.get("access_token")
        if not isinstance(value, str) or not value:
            raise Unavailable(f"{self._realm}: the answer holds no token; tell the registry's administrator")
        return Token(value, time.monotonic() + max(seconds - _MARGIN_SECONDS, 1.0))

    async def refresh_token(self) -> str:
        """An identity token that can stand in for the password; "" when the server gives none."""
        if self._challenge is None or self._challenge.scheme != "bearer":
            return ""
        value = (await self._ask(frozenset(), offline=True)).get("refresh_token")
        return value if isinstance(value, str) else ""

    @property
    def _realm(self) -> str:
        return self._challenge.parameters.get("realm", "") if self._challenge else ""

    async def _ask(self, scopes: frozenset[str], *, offline: bool) -> Mapping[str, Any]:
        realm = urlsplit(self._realm)
        if realm.scheme not in ("http", "https") or not realm.netloc:
            raise Unavailable(
                f'{self._endpoint.host}: "{self._realm[:200]}" is no address to get a token from'
            )
        if realm.scheme == "http" and self._endpoint.url.startswith("https://") and self._endpoint.secure:
            raise Unavailable(
                f"{self._endpoint.host} asks for credentials over plain HTTP at {realm.netloc}; "
                "tell its administrator"
            )
        service = self._challenge.parameters.get("service", "") if self._challenge else ""
        fields = [("service", service)] if service else []
        if self._credentials.identity_token:
            answer = await self._post(fields, scopes)
        else:
            answer = await self._get(fields, scopes, offline=offline)
        if answer.status >= 400:
            refused = refusals.parse(answer.status, answer.body)
            if answer.status in (401, 403):
                raise Unauthorized(f"{shown('GET', self._realm)}: unauthorized: {refused}")
            raise Unavailable(f"{shown('GET', self._realm)}: {refused}")
        try:
            document = json.loads(answer.body)
        except (ValueError, RecursionError) as exc:
            raise Unavailable(f"{shown('GET', self._realm)}: the answer is not JSON") from exc
        if not isinstance(document, dict):
            raise Unavailable(f"{shown('GET', self._realm)}: the answer is no JSON object")
        return document

    async def _get(self, fields: list[tuple[str, str]], scopes: frozenset[str], *, offline: bool) -> Answer:
        fields = [*fields, *(("scope", scope) for scope in sorted(scopes))]
        headers: dict[str, str] = {}
        if self._credentials.username:
            fields.append(("account", self._credentials.username))
            headers = basic(self._credentials)
        if offline:
            fields += [("offline_token", "true"), ("client_id", CLIENT_ID)]
        url = self._realm + ("&" if "?" in self._realm else "?") + urlencode(fields)
        return await self._transport.retry(
            lambda: self._transport.fetch(self._endpoint, "GET", url, headers=headers)
        )

    async def _post(self, fields: list[tuple[str, str]], scopes: frozenset[str]) -> Answer:
        form = urlencode(
            [
                *fields,
                ("grant_type", "refresh_token"),
                ("refresh_token", self._credentials.identity_token),
                ("client_id", CLIENT_ID),
                ("scope", " ".join(sorted(scopes))),
            ]
        )
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return await self._transport.retry(
            lambda: self._transport.fetch(
                self._endpoint, "POST", self._realm, headers=headers, data=form.encode()
            )
        )


def basic(credentials: Credentials) -> dict[str, str]:
    packed = base64.b64encode(f"{credentials.username}:{credentials.password}".encode()).decode()
    return {"Authorization": f"Basic {packed}"}
