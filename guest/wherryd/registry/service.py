"""The door to registries: repositories to read and write, login, search, inspection from afar."""

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from wherryd import later
from wherryd.errors import NotFound, Unauthorized, Unavailable
from wherryd.registry import manifests
from wherryd.registry.credentials import Credentials
from wherryd.registry.hosts import Hosts, RegistryOptions, domain_of_server
from wherryd.registry.manifests import Index, Platform
from wherryd.registry.refusals import Refusal

if TYPE_CHECKING:
    from wherryd.registry import remote as remotes
    from wherryd.registry import search, transport, upload
    from wherryd.registry.transport import Retries, Transport
else:
    remotes = later.module("wherryd.registry.remote")
    search = later.module("wherryd.registry.search")
    transport = later.module("wherryd.registry.transport")
    upload = later.module("wherryd.registry.upload")


class Registry:
    """Opens no connection before it is asked for one; `close` may come twice."""

    def __init__(self, options: RegistryOptions | None = None, retries: "Retries | None" = None) -> None:
        """Raises InvalidParameter for options that cannot be."""
        self._hosts = Hosts(options or RegistryOptions())
        self._retries = retries

    @cached_property
    def _transport(self) -> "Transport":
        return transport.Transport(self._hosts, self._retries)

    async def close(self) -> None:
        if "_transport" in self.__dict__:
            await self._transport.close()

    def repository(self, domain: str, path: str, credentials: Credentials) -> "remotes.Remote":
        """For reading."""
        return remotes.Remote(self._transport, self._hosts, domain, path, credentials)

    def uploader(self, domain: str, path: str, credentials: Credentials) -> "upload.Uploader":
        return upload.Uploader(
            remotes.Remote(self._transport, self._hosts, domain, path, credentials, push=True)
        )

    async def login(self, credentials: Credentials) -> str:
        """Proves the credentials. An identity token to keep in place of the password, or "".

        Raises Unauthorized, Unavailable.
        """
        domain = domain_of_server(credentials.server)
        # No repository: what is asked for is only to be let in.
        remote = remotes.Remote(
            self._transport, self._hosts, domain, "", replace(credentials, server=domain), push=True
        )
        site = (await remote.sites())[0]
        url = f"{site.endpoint.url}/v2/"
        nothing: frozenset[str] = frozenset()
        try:
            async with remote.request(site, "GET", url, scopes=nothing):
                pass
            return await site.authorizer.refresh_token() if not credentials.identity_token else ""
        except Refusal as exc:
            if exc.is_denied:
                raise Unauthorized(
                    f"{transport.shown('GET', url)}: unauthorized: incorrect username or password ({exc})"
                ) from exc
            raise exc.as_engine_error(transport.shown("GET", url)) from exc

    async def search(
        self, term: str, *, limit: int, filters: "search.Filters", credentials: Credentials
    ) -> list[dict[str, Any]]:
        return await search.search(
            self._transport, self._hosts, term, limit=limit, filters=filters, credentials=credentials
        )

    async def inspect(
        self, domain: str, path: str, reference: str, credentials: Credentials
    ) -> dict[str, Any]:
        """Engine API DistributionInspect. Raises Unauthorized, NotFound, Unavailable, InvalidParameter."""
        remote = self.repository(domain, path, credentials)
        try:
            raw = await remote.manifest(reference)
            parsed = manifests.parse(raw)
            if isinstance(parsed, Index):
                platforms = [_platform(platform) for platform in parsed.platforms]
            else:
                platforms = [_config_platform(await remote.document(parsed.config))]
        except Refusal as exc:
            what = f"{domain}/{path}:{reference}"
            if exc.is_missing:
                raise NotFound(f"manifest for {what} not found: {exc}") from exc
            if exc.is_denied:
                raise Unauthorized(f"{what}: {exc}; log in, or check the name") from exc
            raise exc.as_engine_error(what) from exc
        descriptor = raw.descriptor
        return {
            "Descriptor": {
                "mediaType": descriptor.media_type,
                "digest": descriptor.digest,
                "size": descriptor.size,
            },
            "Platforms": platforms,
        }


def _platform(platform: Platform) -> dict[str, str]:
    shown_as = {"architecture": platform.architecture, "os": platform.os}
    return shown_as | ({"variant": platform.variant} if platform.variant else {})


def _config_platform(config: bytes) -> dict[str, str]:
    try:
        document: Mapping[str, Any] = json.loads(config)
        fields = [str(document.get(key) or "") for key in ("os", "architecture", "variant")]
    except (ValueError, AttributeError, RecursionError) as exc:
        raise Unavailable("the image's config is not JSON; push the image again") from exc
    return _platform(Platform(*fields))
