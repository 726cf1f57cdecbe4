"""What a build was asked for, checked by the API."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from wherryd.images.reference import Reference
from wherryd.registry.credentials import Credentials


class Entitlement(StrEnum):
    """What a Dockerfile may ask for only if who builds it allows it. The network of the machine is always
    allowed, as in the classic builder. Source: docker buildx build reference, "--allow"."""

    HOST_NETWORK = "network.host"
    INSECURE = "security.insecure"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """context: token of one that was announced, or the digest of a list of files; base: of an earlier list.
    needs: digest of the paths it was made for. remote: where it comes from otherwise, "" for the request.
    dockerfile: path in the context. tags: names for the result. build_args: None takes no value. network:
    NetworkMode of RUN steps. host_config: limits of RUN steps, as in HostConfig. keep_failed: the container
    of a failing RUN stays for a look (docker's --rm=false without --force-rm). credentials: for base images,
    by the domain of their registry. offer: token of what the client lends. cache_from: images whose steps are
    the only cache, as in the classic builder. contexts: named contexts, by lower-case name. squash: the new
    layers become one."""

    context: str = field(default="", repr=False)
    base: str = ""
    needs: str = ""
    remote: str = ""
    dockerfile: str = "Dockerfile"
    tags: tuple[Reference, ...] = ()
    build_args: Mapping[str, str | None] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    no_cache: bool = False
    cache_from: tuple[str, ...] = ()
    contexts: Mapping[str, str] = field(default_factory=dict)
    allow: frozenset[Entitlement] = frozenset()
    squash: bool = False
    pull: bool = False
    quiet: bool = False
    keep_failed: bool = False
    network: str = ""
    platform: str = ""
    host_config: Mapping[str, Any] = field(default_factory=dict)
    credentials: Mapping[str, Credentials] = field(default_factory=dict, repr=False)
    offer: str = field(default="", repr=False)

    def argument(self, name: str) -> str:
        """The value of a build argument, "" without one."""
        return self.build_args.get(name) or ""
